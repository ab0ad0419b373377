"""Ledgers that let workers share a recovery, with one fault each. The suite rejects them all."""

from collections.abc import Sequence

from eos.core.leases import Lease, Leases
from eos.core.ports import Assertion, Recovery
from eos.core.record import Shard
from eos.stores.memory.ledger import MemoryLedger


class OpensWithHalfOfIt(MemoryLedger):
    """Believes whoever opens that all partitions are done."""

    def _may_open(self, state, recovery: Recovery, partitions: int) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        return bool(partitions) or super()._may_open(state, recovery, partitions)


class CountsWhatIsDoneUnderAnyName(MemoryLedger):
    """Asks which partitions are done, and not in which recovery."""

    def _may_open(self, state, recovery: Recovery, partitions: int) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        found = self._recovery(state)
        if partitions and found:
            return found.done.issuperset(range(partitions))
        return super()._may_open(state, recovery, partitions)


class KeepsWhatIsDoneElsewhere(MemoryLedger):
    """Keeps the recovery where no loss of owners takes it along."""

    _kept: Leases | None = None

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        state = self._state(shard)
        state.recovery = state.recovery or self._kept
        found = super().lock(shard, token, seconds, partitions)
        self._kept = state.recovery
        return found


class KeepsWhatIsDoneOnAnotherServer(MemoryLedger):
    """Goes on with a recovery that came with the data of another server."""

    def _recovery(self, state) -> Leases | None:  # type: ignore[no-untyped-def] # noqa: ANN001
        found: Leases | None = state.recovery
        return found


class HandsOutWhatIsHeld(MemoryLedger):
    """Two workers get one partition: the later one takes it from the other."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        recovery = self._state(shard).recovery
        if recovery and partitions is not None:
            recovery.held = {p: each._replace(until=0) for p, each in recovery.held.items()}
        return super().lock(shard, token, seconds, partitions)


class HandsOutWhatIsDone(MemoryLedger):
    """Everything is read again by whoever comes."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        recovery = self._state(shard).recovery
        if recovery and partitions is not None:
            recovery.done.clear()
        return super().lock(shard, token, seconds, partitions)


class WaitsForTheDead(MemoryLedger):
    """A lease has no end."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        return super().lock(shard, token, seconds + 3600, partitions)


class LetsTheDeadGoOn(MemoryLedger):
    """Knows the recovery, and does not ask who holds what of it."""

    def _holds(self, state, recovery: Recovery) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        found = self._recovery(state)
        return found is not None and found.identity == recovery.identity


class BelievesWhatIsSaidToBeHeld(MemoryLedger):
    """Asks whether the caller holds anything, and not whether it is what he puts back."""

    def _holds(self, state, recovery: Recovery) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        found = self._recovery(state)
        if found is None or found.identity != recovery.identity or recovery.partition is None:
            return False
        now = self._clock()
        return any(found.holder(part, now) == recovery.token for part in found.held)


class MarksWithoutALease(MemoryLedger):
    """Notes what is done before it asks who says so."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        self._finish(self._state(shard), recovery, assertion)
        return super().reassert(shard, recovery, assertion)


class SharesWhatIsOpen(MemoryLedger):
    """Begins a recovery where nothing has to be recovered."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        found = super().lock(shard, token, seconds, partitions)
        if found and found.sealed and partitions:
            held = {partitions[0]: Lease(token, self._clock() + seconds)}
            self._state(shard).recovery = Leases(found.identity, held)
        return found


class SharesWhatOneHoldsAlone(MemoryLedger):
    """Gives parts of a shard away that somebody holds as a whole."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        found = super().lock(shard, token, seconds, partitions)
        if found is None and partitions is not None:
            self._state(shard).recovery = None
            return super().lock(shard, token, seconds, partitions)
        return found


class BeginsAnewForEach(MemoryLedger):
    """Each worker has a recovery of its own: nobody ever has all partitions done."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        if partitions is not None:
            self._state(shard).recovery = None
        return super().lock(shard, token, seconds, partitions)


class RemembersWhatWasDone(MemoryLedger):
    """A seal that is broken on purpose leaves what the recovery under way had done."""

    def unseal(self, shard: Shard) -> None:
        kept = self._state(shard).recovery
        super().unseal(shard)
        self._state(shard).recovery = kept


CAUGHT_BY: dict[type[MemoryLedger], str] = {
    OpensWithHalfOfIt: "nothing_is_opened_before_all_partitions_are_done",
    CountsWhatIsDoneUnderAnyName: "what_an_earlier_recovery_has_done_does_not_count",
    KeepsWhatIsDoneElsewhere: "what_is_done_is_lost_with_the_data",
    KeepsWhatIsDoneOnAnotherServer: "what_is_done_does_not_outlive_the_server",
    HandsOutWhatIsHeld: "each_worker_takes_a_partition_that_nobody_has_and_the_last_one_opens",
    HandsOutWhatIsDone: "each_worker_takes_a_partition_that_nobody_has_and_the_last_one_opens",
    WaitsForTheDead: "the_partition_of_a_worker_that_died_is_taken_over_where_it_was",
    LetsTheDeadGoOn: "the_partition_of_a_worker_that_died_is_taken_over_where_it_was",
    BelievesWhatIsSaidToBeHeld: "nobody_puts_back_what_he_does_not_hold",
    MarksWithoutALease: "nobody_puts_back_what_he_does_not_hold",
    SharesWhatIsOpen: "a_shard_that_is_open_is_not_shared",
    SharesWhatOneHoldsAlone: ("the_shard_as_a_whole_is_held_by_one_who_shares_it_with_nobody"),
    BeginsAnewForEach: "each_worker_takes_a_partition_that_nobody_has_and_the_last_one_opens",
    RemembersWhatWasDone: "what_an_earlier_recovery_has_done_does_not_count",
}
