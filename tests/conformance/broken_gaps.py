"""Ledgers with one fault each in what they do with positions at which nothing is delivered."""

import dataclasses

from eos.core import rules
from eos.core.ports import Assertion, Mark, Recovery
from eos.core.record import Shard
from eos.core.rules import Gap, Owner
from eos.stores.memory.ledger import MemoryLedger


class VoidsNothing(MemoryLedger):
    """Whoever owned a key owns it for ever: the next copy is lost."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:  # noqa: ARG002
        return True


class VoidsTheNextOne(MemoryLedger):
    """A gap ends one too late: a record that is still delivered is handled twice."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        return super().void(shard, mark._replace(offset=mark.offset + 1), start)


class VoidsTheOneBefore(MemoryLedger):
    """A gap begins one too early."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        return super().void(shard, mark, max(0, start - 1))


class VoidsEveryPartition(MemoryLedger):
    """A gap is one in each partition."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        done = super().void(shard, mark, start)
        for other in {0, 1} - {mark.partition}:
            self._state(shard).gaps[other] = [Gap(start, mark.offset)]
        return done


class VoidsForZombies(MemoryLedger):
    """Does not look at the epoch."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        newest = self._state(shard).epochs.get(mark.partition, 0)
        return super().void(shard, mark._replace(epoch=newest), start)


class RemembersTheLastGap(MemoryLedger):
    """A new gap takes the place of those before."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        self._state(shard).gaps.pop(mark.partition, None)
        return super().void(shard, mark, start)


class ForgetsGapsWithTheSeal(MemoryLedger):
    """Breaking the seal loses the gaps."""

    def unseal(self, shard: Shard) -> None:
        super().unseal(shard)
        self._state(shard).gaps = {}


class NeverUnseals(MemoryLedger):
    """Claims from before a gap was known are confirmed."""

    def unseal(self, shard: Shard) -> None:
        """Do nothing."""


class LeavesAGapUnclaimed(MemoryLedger):
    """What stands behind a gap is refused, as if claims had been lost."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        state = self._state(shard)
        claimed = state.claimed.get(mark.partition, 0)
        done = super().void(shard, mark, start)
        state.claimed[mark.partition] = claimed
        return done


class ClaimsBeyondWhatIsLacking(MemoryLedger):
    """A gap makes claims that were lost before it look as if they were there."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        done = super().void(shard, mark, start)
        claimed = self._state(shard).claimed
        claimed[mark.partition] = max(claimed.get(mark.partition, 0), mark.offset)
        return done


class RecoversNoGaps(MemoryLedger):
    """Recovery does not put gaps back."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        return super().reassert(shard, recovery, dataclasses.replace(assertion, gaps=()))


class RecoversForTheVoid(MemoryLedger):
    """What recovery puts back does not take the place of an owner in a gap."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        state = self._state(shard)
        gaps, state.gaps = state.gaps, {}
        done = super().reassert(shard, recovery, assertion)
        state.gaps = gaps | state.gaps
        return done


class KeepsOneGapOfAStart(MemoryLedger):
    """A gap takes the place of another one that begins where it does."""

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        gaps = self._state(shard).gaps
        gaps[mark.partition] = [g for g in gaps.get(mark.partition, []) if g.start != start]
        return super().void(shard, mark, start)


class HandlesEachCopy(MemoryLedger):
    """Says FRESH, and leaves the key to the owner that is void."""

    def _own(self, state: object, time_of: int, digest: bytes, owner: Owner) -> None:
        gaps = [gap for each in state.gaps.values() for gap in each]  # type: ignore[attr-defined]
        if not gaps or rules.is_void(owner, gaps):
            super()._own(state, time_of, digest, owner)  # type: ignore[arg-type]


CAUGHT_BY: dict[type, str] = {
    VoidsNothing: "an_owner_in_a_gap_is_none",
    VoidsTheNextOne: "an_owner_in_a_gap_is_none",
    VoidsTheOneBefore: "an_owner_in_a_gap_is_none",
    VoidsEveryPartition: "a_gap_is_of_one_partition",
    VoidsForZombies: "who_is_fenced_voids_nothing",
    RemembersTheLastGap: "there_may_be_several_gaps",
    KeepsOneGapOfAStart: "a_gap_within_another_takes_nothing_back",
    ForgetsGapsWithTheSeal: "a_gap_outlives_the_seal",
    NeverUnseals: "a_gap_outlives_the_seal",
    LeavesAGapUnclaimed: "what_is_in_a_gap_counts_as_claimed",
    ClaimsBeyondWhatIsLacking: "but_not_where_claims_are_lacking_before_it",
    RecoversNoGaps: "recovery_puts_gaps_back",
    RecoversForTheVoid: "what_recovery_puts_back_is_owned_by_nobody_in_a_gap",
    HandlesEachCopy: "the_first_copy_owns_the_key_and_the_others_are_its_duplicates",
}
