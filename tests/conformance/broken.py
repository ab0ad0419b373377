"""Ledgers with one fault each: mistakes that real ones have made. The suite rejects them all.

`CAUGHT_BY` names, for each fault, the exercise that is there because of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from eos.core.ports import Assertion, Claimed, Claims, Recovery, Refused, Taken
from eos.core.record import Shard
from eos.core.rules import Owner, Verdict
from eos.stores.memory.ledger import MemoryLedger


class _Retold(MemoryLedger):
    """Decides rightly, and tells one verdict in place of another."""

    told: ClassVar[Mapping[Verdict, Verdict]] = {}

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        return dataclasses.replace(answer, verdicts=[self.told.get(v, v) for v in answer.verdicts])


class SeenSet(_Retold):
    """Whatever was seen is a duplicate: a crash after the claim loses the record."""

    told: ClassVar = {Verdict.AGAIN: Verdict.DUPLICATE}


class IgnoresFingerprint(_Retold):
    """The key alone makes a duplicate: another event under the same key is dropped."""

    told: ClassVar = {Verdict.CONFLICT: Verdict.DUPLICATE}


class SuppressesConflictsAsFresh(_Retold):
    """Another payload is another event: the owner's key counts for nothing."""

    told: ClassVar = {Verdict.CONFLICT: Verdict.FRESH}


class UnlocksOnTakeOver(MemoryLedger):
    """A take-over frees what the last worker had not settled: its copies run as well."""

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        state = self._state(shard)
        for owners in state.generations.values():
            for digest, owner in list(owners.items()):
                if owner.offset >= state.floors.get(owner.partition, 0):
                    del owners[digest]
        return super().take(shard, partitions)


class UnlocksOnRepeat(MemoryLedger):
    """An owner that comes back must have failed: its key is freed."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        digests = [digest for claims in batch for digest in claims.digests]
        if isinstance(answer, Claimed):
            for digest, verdict in zip(digests, answer.verdicts, strict=True):
                for owners in self._state(shard).generations.values():
                    if verdict is Verdict.AGAIN:
                        owners.pop(digest, None)
        return answer


class LastClaimWins(MemoryLedger):
    """A copy becomes the owner: the first one is suppressed when it comes back."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Claimed):
            places = [(c.partition, o) for c in batch for o in c.offsets]
            digests = [digest for claims in batch for digest in claims.digests]
            for i, owner in answer.owners.items():
                for owners in self._state(shard).generations.values():
                    if digests[i] in owners:
                        owners[digests[i]] = Owner(*places[i], owner.fingerprint)
        return answer


class TokenRestarts(MemoryLedger):
    """Epochs are a counter in the data that may be lost."""

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        state = self._state(shard)
        taken = {}
        for p in partitions:
            state.epochs[p] = state.epochs.get(p, 0) + 1
            taken[p] = Taken(state.epochs[p], state.claimed.get(p, 0), state.floors.get(p, 0))
        return taken


class ForgetsEpochsHeardOf(MemoryLedger):
    """After a loss nobody is fenced, until the next take-over."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        before = dict(self._state(shard).epochs)
        answer = super().claim(shard, batch)
        self._state(shard).epochs = before
        return answer


class ExpiresOneGenerationEarly(MemoryLedger):
    def __init__(self, window: int, *, generation: int | None = None) -> None:
        super().__init__(window - (generation or window), generation=generation)


class ExpiresOneGenerationLate(MemoryLedger):
    def __init__(self, window: int, *, generation: int | None = None) -> None:
        super().__init__(window + (generation or window), generation=generation)


class FilesByTheClock(MemoryLedger):
    """Keeps what was claimed lately, however old it is: lag doubles the window or eats it."""

    def _file(self, state, partition, stamp):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG002
        return int(self._clock())


class BelievesEveryStamp(MemoryLedger):
    """Files by the record's own stamp: one from the past is dropped at once."""

    def _file(self, state, partition, stamp):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG002
        return max(0, stamp)


class AsksTheNewestGenerationOnly(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        state = self._state(shard)
        kept = dict(state.generations)
        newest = max(kept, default=0)
        state.generations = {end: kept[end] for end in kept if end == newest}
        answer = super().claim(shard, batch)
        state.generations = {**kept, **state.generations}
        return answer


class FrontierTimesFall(MemoryLedger):
    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        for p in frontier_times:
            self._state(shard).passed.pop(p, None)
        return super().advance(shard, frontier_times, partitions)


class DropsWithoutKnowingAll(MemoryLedger):
    """Counts the partitions that it was told of."""

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        known = len({*self._state(shard).passed, *frontier_times})
        return super().advance(shard, frontier_times, min(known, partitions))


class WritesWhenClosed(MemoryLedger):
    """Looks at the seal when it has written."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        state = self._state(shard)
        if not self._sealed(state):
            for claims in batch:
                self._claim(state, claims, [], {})
        return super().claim(shard, batch)


class WritesHalfABatch(MemoryLedger):
    """Takes partition after partition until one is refused."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = Claimed("", [], {})
        for claims in batch:
            part = super().claim(shard, [claims])
            if isinstance(part, Refused):
                return part
            shift = len(answer.verdicts)
            owners = {**answer.owners, **{i + shift: o for i, o in part.owners.items()}}
            known = {**answer.known, **part.known}
            answer = Claimed(part.seal, answer.verdicts + part.verdicts, owners, known)
        return answer


class ForgetsFloor(MemoryLedger):
    """Believes the frontier that the client tells, though it may be an old one."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        self._state(shard).floors.clear()
        return super().claim(shard, batch)


class IgnoresGap(MemoryLedger):
    """Takes a batch that begins anywhere: lost claims stay lost."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        return super().claim(shard, [dataclasses.replace(c, start=0) for c in batch])


class ClaimedFalls(MemoryLedger):
    """Counts as claimed what the last batch had."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Claimed):
            self._state(shard).claimed.update({c.partition: c.end for c in batch})
        return answer


class ConfirmsAnyOpening(MemoryLedger):
    """Looks at the server's identity only: a flush and a new opening go unseen."""

    def confirm(self, shard: Shard, seal: str) -> bool:
        return seal.startswith(f"{self._identity}/") and self._sealed(self._state(shard))


class SealsForEver(MemoryLedger):
    """A seal is a seal: a server restored from a backup goes on with old owners."""

    def _sealed(self, state) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        return state.seal is not None


class OpensForAnybody(MemoryLedger):
    """Does not look at the lock: a recovery that is late opens over a newer one."""

    def _holds(self, state, recovery: Recovery) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        return recovery.identity.startswith(f"{self._identity}/")


class TrustsTheToken(MemoryLedger):
    """Looks at the lock's token, not at which holding it was: a flush goes unseen."""

    def _holds(self, state, recovery: Recovery) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        same = recovery.identity.startswith(f"{self._identity}/")
        held = state.recovery and state.recovery.held.get(recovery.partition)
        return bool(same and held and held.token == recovery.token)


class SealsAnewEachTime(MemoryLedger):
    """Breaks the seal of all others when one partition is recovered."""

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        state = self._state(shard)
        if self._holds(state, recovery):
            state.seal = None
        return super().open(shard, recovery, frontiers, begun, partitions)


class PutsBackOverOwners(MemoryLedger):
    """Recovery takes keys from who owns them by now."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        state = self._state(shard)
        if self._holds(state, recovery):
            for owners in state.generations.values():
                for digest in assertion.digests:
                    owners.pop(digest, None)
        return super().reassert(shard, recovery, assertion)


class OverrulesNobody(MemoryLedger):
    """Recovery leaves owners that the log knows better."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        state = self._state(shard)
        known = [bool(d) and state.owner(d) is not None for d in assertion.digests]
        digests = [b"" if k else d for d, k in zip(assertion.digests, known, strict=True)]
        left = dataclasses.replace(assertion, digests=digests)
        return super().reassert(shard, recovery, left if assertion.settled else assertion)


class LeavesSuppressedOwners(MemoryLedger):
    """Recovery passes over what the audit has, and does not look who owns its key."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        digests = [
            b"" if offset in assertion.audited else digest
            for offset, digest in zip(assertion.offsets, assertion.digests, strict=True)
        ]
        passed = dataclasses.replace(assertion, digests=digests, audited=())
        return super().reassert(shard, recovery, passed)


class BeginsAgainWhenTheRecovererDies(MemoryLedger):
    """What is put back does not count as told of."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        floors = dict(self._state(shard).floors)
        done = super().reassert(shard, recovery, assertion)
        self._state(shard).floors = floors
        return done


class FencesNobody(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        self._state(shard).epochs.clear()
        return super().claim(shard, batch)


CAUGHT_BY: dict[type[MemoryLedger], str] = {
    SeenSet: "the_owner_that_comes_back_is_handled_again",
    IgnoresFingerprint: "another_payload_under_the_same_key_is_a_conflict",
    SuppressesConflictsAsFresh: "another_payload_under_the_same_key_is_a_conflict",
    UnlocksOnTakeOver: "a_copy_is_suppressed_while_its_owner_is_in_flight_and_the_owner_never_is",
    UnlocksOnRepeat: "the_owner_that_comes_back_still_owns_its_key",
    LastClaimWins: "a_replay_gives_the_same_verdicts",
    TokenRestarts: "epochs_never_restart_not_even_after_a_loss",
    ForgetsEpochsHeardOf: "after_a_loss_the_newest_epoch_heard_of_fences_older_ones",
    ExpiresOneGenerationEarly: (
        "an_owner_is_kept_until_every_frontier_has_passed_its_generation_by_the_window"
    ),
    ExpiresOneGenerationLate: (
        "an_owner_is_kept_until_every_frontier_has_passed_its_generation_by_the_window"
    ),
    FilesByTheClock: "an_owner_is_filed_under_the_time_of_its_record_not_of_its_claim",
    BelievesEveryStamp: "a_stamp_older_than_the_partition_is_filed_under_the_partitions_time",
    AsksTheNewestGenerationOnly: "owners_are_found_in_every_live_generation",
    FrontierTimesFall: "frontier_times_never_fall",
    DropsWithoutKnowingAll: "a_partition_nobody_has_told_of_holds_everything",
    WritesWhenClosed: "a_closed_ledger_writes_nothing",
    WritesHalfABatch: "a_batch_is_claimed_as_a_whole_or_not_at_all",
    ForgetsFloor: "the_ledger_keeps_the_highest_frontier_it_was_told",
    IgnoresGap: "claims_follow_on_each_other_without_a_gap",
    ClaimedFalls: "a_batch_counts_as_claimed_up_to_its_end",
    ConfirmsAnyOpening: "a_seal_is_not_confirmed_after_a_loss",
    SealsForEver: "another_identity_closes_the_ledger_and_keeps_what_it_has",
    OpensForAnybody: "without_the_lock_nothing_is_put_back_and_nothing_opened",
    TrustsTheToken: "a_recovery_does_not_outlive_a_loss",
    SealsAnewEachTime: "a_shard_that_is_sealed_keeps_its_seal_when_it_is_opened",
    PutsBackOverOwners: "putting_back_replaces_no_owner",
    OverrulesNobody: "a_position_that_is_known_to_be_handled_overrules_the_owner",
    LeavesSuppressedOwners: "a_position_that_was_suppressed_owns_nothing_any_more",
    BeginsAgainWhenTheRecovererDies: "what_is_put_back_as_settled_counts_as_told_of",
    FencesNobody: "a_take_over_fences_all_earlier_epochs",
}
