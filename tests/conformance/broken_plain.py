"""Ledgers with one fault each in what the plain tier asks of them. The suite rejects them all.

`CAUGHT_BY` names, for each fault, the exercise that is there because of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from eos.core.ports import Claimed, Claims, Known, Mark, Recovery, Refused, Taken
from eos.core.record import Shard
from eos.core.rules import Admission
from eos.stores.memory.ledger import MemoryLedger


class _Unsealed(MemoryLedger):
    """Whatever seal is asked for is the one that stands."""

    def _admits(self, state, seal, marks):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG002
        return super()._admits(state, state.seal, marks)


class BeginsUnderAnySeal(_Unsealed):
    """A mark of a worker that slept through a loss: it handles what another one claims."""

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        right = self.confirm(shard, seal)
        return super().settle(shard, seal, marks) if right else Admission.CLOSED


class SettlesUnderAnySeal(_Unsealed):
    """What was claimed before a loss is settled after it."""

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        return self.confirm(shard, seal) and super().begin(shard, seal, mark)


class ChecksTheSealAfterTheEpoch(MemoryLedger):
    """A zombie learns nothing of the loss."""

    def _admits(self, state, seal, marks):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        if any(epoch < state.epochs.get(p, 0) for p, epoch, _ in marks):
            return Admission.FENCED
        return super()._admits(state, seal, marks)


class BeginsWhenClosed(MemoryLedger):
    """Compares the seal, and not the server with it."""

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        state = self._state(shard)
        if state.seal == seal:
            state.begun[mark.partition] = mark.offset
        return super().begin(shard, seal, mark)


class BeginsForZombies(MemoryLedger):
    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        return super().begin(shard, seal, mark._replace(epoch=2**62))


class SettlesForZombies(MemoryLedger):
    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        return super().settle(shard, seal, [mark._replace(epoch=2**62) for mark in marks])


class RewindsForZombies(MemoryLedger):
    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        return super().rewind(shard, [mark._replace(epoch=2**62) for mark in marks])


class SettlesBack(MemoryLedger):
    """A late packet takes the frontier back."""

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        admission = super().settle(shard, seal, marks)
        if admission is Admission.OPEN:
            self._state(shard).floors.update({mark.partition: mark.offset for mark in marks})
        return admission


class SettlesHalf(MemoryLedger):
    """Writes mark after mark until one is fenced."""

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        for mark in marks:
            admission = super().settle(shard, seal, [mark])
            if admission is not Admission.OPEN:
                return admission
        return Admission.OPEN


class RewindsHalf(MemoryLedger):
    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        return all(super(RewindsHalf, self).rewind(shard, [mark]) for mark in marks)


class SettlesTheFirstMarkOfAPartition(MemoryLedger):
    """Reads what is known of each mark's partition before it writes any."""

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        last = {mark.partition: mark for mark in marks}
        admission = super().settle(shard, seal, marks)
        floors = self._state(shard).floors
        floors.update({p: m.offset for p, m in last.items() if len(last) < len(marks)})
        return admission


class SettlingBegins(MemoryLedger):
    """Takes the frontier for what has begun."""

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        admission = super().settle(shard, seal, marks)
        self._state(shard).begun.update({mark.partition: mark.offset for mark in marks})
        return admission


class BeginningSettles(MemoryLedger):
    """Takes a record that may begin for one that is done: a crash loses it."""

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        begun = super().begin(shard, seal, mark)
        if begun:
            self._state(shard).floors[mark.partition] = mark.offset
        return begun


class BeginFalls(MemoryLedger):
    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        begun = super().begin(shard, seal, mark)
        if begun:
            self._state(shard).begun[mark.partition] = mark.offset
        return begun


class RewindsForward(MemoryLedger):
    """Sets the frontier to where a replay is said to begin: records below are never handled."""

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        rewound = super().rewind(shard, marks)
        if rewound:
            self._state(shard).floors.update({mark.partition: mark.offset for mark in marks})
        return rewound


class RewindsMarksForward(MemoryLedger):
    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        rewound = super().rewind(shard, marks)
        if rewound:
            self._state(shard).begun.update({mark.partition: mark.offset for mark in marks})
        return rewound


class RewindLeavesWhatHasBegun(MemoryLedger):
    """Every record of an announced replay is in doubt."""

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        before = dict(self._state(shard).begun)
        rewound = super().rewind(shard, marks)
        self._state(shard).begun = before
        return rewound


class RewindFreesOwners(MemoryLedger):
    """A replay begins with no owners: copies of what it repeats are handled as well."""

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        self._state(shard).generations.clear()
        return super().rewind(shard, marks)


class RewindUnclaims(MemoryLedger):
    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        self._state(shard).claimed.update({mark.partition: mark.offset for mark in marks})
        return super().rewind(shard, marks)


class ClaimForgetsTheMark(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        return super().claim(shard, [dataclasses.replace(c, begun=0) for c in batch])


class ClaimTellsItsOwnMark(MemoryLedger):
    """Reports begun after instead of before: every first attempt is in doubt."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        begun = self._state(shard).begun
        known = {p: Known(told.floor, begun[p]) for p, told in answer.known.items()}
        return dataclasses.replace(answer, known=known)


class ClaimTellsTheFloorBeforeIt(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        floors = dict(self._state(shard).floors)
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        known = {p: Known(floors.get(p, 0), told.begun) for p, told in answer.known.items()}
        return dataclasses.replace(answer, known=known)


class ClaimTellsTheFrontierItWasTold(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        told = {c.partition: c.frontier for c in batch}
        known = {p: k._replace(floor=told[p]) for p, k in answer.known.items()}
        return dataclasses.replace(answer, known=known)


class ClaimedMarkFalls(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Claimed):
            marks = {c.partition: c.begun for c in batch if c.begun}
            self._state(shard).begun.update(marks)
        return answer


class MarksWhatItRefuses(MemoryLedger):
    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            self._state(shard).begun.update({c.partition: c.begun for c in batch})
        return answer


class TakeOverForgetsWhatHasBegun(MemoryLedger):
    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        for p in partitions:
            self._state(shard).begun.pop(p, None)
        return super().take(shard, partitions)


class Opens(MemoryLedger):
    """Opens, and then does what is wrong."""

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        state = self._state(shard)
        was = dataclasses.replace(state, begun=dict(state.begun), opened=dict(state.opened))
        opened = super().open(shard, recovery, frontiers, begun, partitions)
        if opened:
            self._opened(state, was, frontiers, begun)
        return opened

    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
        raise NotImplementedError


class OpenForgetsBegun(Opens):
    """What was handled and not settled before a loss is repeated without a flag."""

    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.begun = was.begun


class OpenLowersBegun(Opens):
    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.begun.update(begun)


CAUGHT_BY: dict[type[MemoryLedger], str] = {
    BeginsUnderAnySeal: "nothing_begins_under_another_seal",
    SettlesUnderAnySeal: "nothing_is_settled_under_another_seal",
    ChecksTheSealAfterTheEpoch: "nothing_is_settled_under_another_seal",
    BeginsWhenClosed: "nothing_begins_under_another_seal",
    BeginsForZombies: "nothing_begins_under_an_old_epoch",
    SettlesForZombies: "a_zombie_settles_nothing_and_nothing_is_settled_by_halves",
    RewindsForZombies: "a_zombie_rewinds_nothing_and_nothing_is_rewound_by_halves",
    SettlesBack: "settling_never_moves_a_frontier_back",
    SettlesHalf: "a_zombie_settles_nothing_and_nothing_is_settled_by_halves",
    RewindsHalf: "a_zombie_rewinds_nothing_and_nothing_is_rewound_by_halves",
    SettlesTheFirstMarkOfAPartition: "settling_never_moves_a_frontier_back",
    SettlingBegins: "what_is_settled_is_suppressed_from_then_on",
    BeginningSettles: "a_mark_is_told_to_the_next_claim_and_settles_nothing",
    BeginFalls: "what_has_begun_never_falls",
    RewindsForward: "a_rewind_never_moves_forward",
    RewindsMarksForward: "a_rewind_never_moves_forward",
    RewindLeavesWhatHasBegun: "a_replay_is_handled_again_from_where_it_begins",
    RewindFreesOwners: "a_replay_is_handled_again_from_where_it_begins",
    RewindUnclaims: "a_replay_is_handled_again_from_where_it_begins",
    ClaimForgetsTheMark: "a_claim_tells_what_had_begun_before_it_and_leaves_its_own_mark",
    ClaimTellsItsOwnMark: "a_claim_tells_what_had_begun_before_it_and_leaves_its_own_mark",
    ClaimTellsTheFloorBeforeIt: "a_claim_tells_the_highest_frontier_its_own_included",
    ClaimTellsTheFrontierItWasTold: "a_claim_tells_the_highest_frontier_its_own_included",
    ClaimedMarkFalls: "what_has_begun_never_falls",
    MarksWhatItRefuses: "a_batch_that_is_refused_leaves_no_mark",
    TakeOverForgetsWhatHasBegun: "opening_tells_what_may_have_begun",
    OpenForgetsBegun: "opening_tells_what_may_have_begun",
    OpenLowersBegun: "opening_tells_what_may_have_begun",
}
