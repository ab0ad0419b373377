"""Ledgers that are wrong about which owners are hearsay. The suite rejects them all.

`CAUGHT_BY` names, for each fault, the exercise that is there because of it.
"""

import dataclasses
from collections.abc import Sequence

from eos.core.ports import Claimed, Claims, Refused
from eos.core.record import Shard
from eos.core.rules import Owner
from eos.stores.memory.ledger import MemoryLedger
from tests.conformance.broken_plain import Opens


class HearsayNeverSaid(Opens):
    """A copy is dropped in favour of an owner that was dropped in favour of the copy."""

    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.opened = {}


class HearsayInEveryTier(Opens):
    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.opened = {**frontiers, **state.opened}


class HearsayUpToTheFrontier(Opens):
    """Takes an owner that is not settled for sure: somebody may have suppressed it already."""

    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.opened.update({p: frontiers.get(p, 0) for p in begun})


class OpenedSurvivesANewSeal(Opens):
    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.opened = {**was.opened, **state.opened}


class OpenedNeverFalls(Opens):
    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        for p, frontier in was.opened.items():
            if p in state.opened:
                state.opened[p] = max(frontier, state.opened[p])


class OpeningOnePartitionForgetsTheOthers(Opens):
    """Counts as opened what the last recovery named, under a seal that stands as well."""

    def _opened(self, state, was, frontiers, begun) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        state.opened = {p: state.opened.get(p, 0) for p in begun}


class _Hearsay(MemoryLedger):
    """Says otherwise which owners are hearsay."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        state = self._state(shard)
        places = [c.partition for c in batch for _ in c.offsets]
        hearsay = {i for i, o in answer.owners.items() if self._doubts(state, places[i], o)}
        return dataclasses.replace(answer, hearsay=frozenset(hearsay))

    def _doubts(self, state, claimant: int, owner: Owner) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        raise NotImplementedError


class HearsayOfWhatIsSettled(_Hearsay):
    """Doubts every owner that is settled."""

    def _doubts(self, state, claimant: int, owner: Owner) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        below = state.floors.get(owner.partition, 0) if state.opened.get(owner.partition) else 0
        return owner.offset < below


class HearsayFollowsTheMarks(_Hearsay):
    """Doubts what was claimed under the seal, as soon as it has begun."""

    def _doubts(self, state, claimant: int, owner: Owner) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        below = state.begun.get(owner.partition, 0) if state.opened.get(owner.partition) else 0
        return owner.offset < int(below)


class HearsayOfTheEndItself(_Hearsay):
    def _doubts(self, state, claimant: int, owner: Owner) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        return owner.offset <= int(state.opened.get(owner.partition, -1))


class HearsayByThePartitionThatClaims(_Hearsay):
    def _doubts(self, state, claimant: int, owner: Owner) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001
        return owner.offset < int(state.opened.get(claimant, 0))


class HearsayOfTheWholePartition(_Hearsay):
    def _doubts(self, state, claimant: int, owner: Owner) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001, ARG002
        return bool(state.opened.get(owner.partition))


class HearsayCountsOwners(MemoryLedger):
    """Numbers what is hearsay among the owners, not among the records."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        hearsay = frozenset(n for n, i in enumerate(answer.owners) if i in answer.hearsay)
        return dataclasses.replace(answer, hearsay=hearsay)


CAUGHT_BY: dict[type[MemoryLedger], str] = {
    HearsayNeverSaid: "owners_below_where_the_log_ended_are_hearsay",
    HearsayInEveryTier: "without_what_has_begun_there_is_no_hearsay",
    HearsayUpToTheFrontier: "owners_below_where_the_log_ended_are_hearsay",
    OpenedSurvivesANewSeal: "hearsay_is_of_the_seal_that_stands",
    OpenedNeverFalls: "hearsay_is_of_the_seal_that_stands",
    OpeningOnePartitionForgetsTheOthers: (
        "what_another_partition_lacks_makes_no_hearsay_of_this_one"
    ),
    HearsayOfWhatIsSettled: "owners_claimed_beyond_that_are_sure",
    HearsayFollowsTheMarks: "owners_claimed_beyond_that_are_sure",
    HearsayOfTheEndItself: "owners_below_where_the_log_ended_are_hearsay",
    HearsayByThePartitionThatClaims: "hearsay_goes_by_the_partition_of_the_owner",
    HearsayOfTheWholePartition: "owners_below_where_the_log_ended_are_hearsay",
    HearsayCountsOwners: "owners_below_where_the_log_ended_are_hearsay",
}
