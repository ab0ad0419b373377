"""Ledgers with one fault each in what they do with dead letters that are published again."""

import dataclasses
from collections.abc import Sequence

from eos.core.ports import Assertion, Claimed, Claims, Recovery, Refused
from eos.core.record import Shard
from eos.stores.memory.ledger import MemoryLedger


class MovesNothing(MemoryLedger):
    """A redriven record is a copy like any other: it is suppressed in favour of its dead letter."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        return super().claim(shard, [dataclasses.replace(c, redriven={}) for c in batch])


class _MovesFrom(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        told = [dataclasses.replace(c, redriven=self._believed(shard, c)) for c in batch]
        return super().claim(shard, told)

    def _believed(self, shard: Shard, claims: Claims) -> dict[int, tuple[int, int]]:
        raise NotImplementedError


class MovesFromAnyOwner(_MovesFrom):
    """Whoever says that it was redriven is handled, as often as it is redriven."""

    def _believed(self, shard: Shard, claims: Claims) -> dict[int, tuple[int, int]]:
        owners = {n: self._state(shard).owner(claims.digests[n]) for n in claims.redriven}
        return {
            n: (owner.partition, owner.offset) if owner else claims.redriven[n]
            for n, owner in owners.items()
        }


class MovesAlways(_MovesFrom):
    """Every copy takes the key over from its owner."""

    def _believed(self, shard: Shard, claims: Claims) -> dict[int, tuple[int, int]]:
        owners = {n: self._state(shard).owner(digest) for n, digest in enumerate(claims.digests)}
        return {n: (owner.partition, owner.offset) for n, owner in owners.items() if owner}


class MovesByTheOffset(_MovesFrom):
    """Looks at the offset alone: on another partition it is another record's."""

    def _believed(self, shard: Shard, claims: Claims) -> dict[int, tuple[int, int]]:
        owners = {n: self._state(shard).owner(claims.digests[n]) for n in claims.redriven}
        return {
            n: (owner.partition if (owner := owners[n]) else partition, offset)
            for n, (partition, offset) in claims.redriven.items()
        }


class HandlesAndKeepsTheOwner(MemoryLedger):
    """Says FRESH, and leaves the key to the letter: each redrive is handled."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        state = self._state(shard)
        before = {d: state.owner(d) for c in batch for d in c.digests if d}
        answer = super().claim(shard, batch)
        for digest, owner in before.items():
            for owners in state.generations.values():
                if owner and digest in owners:
                    owners[digest] = owner
        return answer


class KeepsTheTimeOfTheLetter(MemoryLedger):
    """Leaves a key that moved where it was filed: it is forgotten too soon."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        state = self._state(shard)
        filed = {d: end for end, owners in state.generations.items() for d in owners}
        answer = super().claim(shard, batch)
        for digest, end in filed.items():
            owner = state.owner(digest)
            if owner and digest not in state.generations.get(end, {}):
                state.disown(digest)
                state.generations.setdefault(end, {})[digest] = owner
        return answer


class MovesInARefusedBatch(MemoryLedger):
    """Moves keys before it looks whether the batch is admitted."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            for claims in batch:
                for n in claims.redriven:
                    self._state(shard).disown(claims.digests[n])
        return answer


class RecoversTheLetter(MemoryLedger):
    """Recovery does not look at what was redriven."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        told = dataclasses.replace(assertion, redriven={})
        return super().reassert(shard, recovery, told)


class RecoversWhateverWasRedriven(MemoryLedger):
    """In recovery a redriven record takes its key over from anybody."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        if self._holds(self._state(shard), recovery):
            for n in assertion.redriven:
                self._state(shard).disown(assertion.digests[n])
        return super().reassert(shard, recovery, assertion)


CAUGHT_BY: dict[type[MemoryLedger], str] = {
    MovesNothing: "a_redriven_record_takes_its_key_over_from_its_letter",
    MovesFromAnyOwner: "a_second_redrive_of_a_letter_is_a_duplicate_of_the_first",
    MovesAlways: "a_copy_at_another_position_is_a_duplicate_and_names_its_owner",
    MovesByTheOffset: "owners_move_to_the_last_bit",
    HandlesAndKeepsTheOwner: "a_second_redrive_of_a_letter_is_a_duplicate_of_the_first",
    KeepsTheTimeOfTheLetter: "a_key_that_is_taken_over_is_filed_under_the_time_of_the_redrive",
    MovesInARefusedBatch: "a_batch_that_is_refused_moves_nothing",
    RecoversTheLetter: "recovery_of_doubts_gives_the_key_of_a_letter_to_its_redrive",
    RecoversWhateverWasRedriven: "recovery_of_doubts_lets_a_redrive_move_no_other_owner",
}
