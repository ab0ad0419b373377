"""Calls of workers that recover a shard together."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from eos.core.ports.inspection import Inspection, Surgery
from tests.conformance.history import PARTITIONS, Side, Stretch, at, nth


class Share(NamedTuple):
    """A worker joins, and puts something back of what it got, or dies first."""

    token: str
    wanted: list[int]
    dies: bool = False
    stretches: Sequence[Stretch] = ()
    done: bool = False
    frontier: int = 0

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        told = side.share(self.token, self.wanted, 0.001 if self.dies else 60)
        if self.dies:
            time.sleep(0.004)
        recovery = side.recoveries[0]
        put_back = [side.reassert(recovery, s, at(s, claimed)) for s in self.stretches]
        return told, put_back, self.done and side.finish(recovery, self.frontier)


class ShareAll(NamedTuple):
    """Workers put everything back, or all but one, with an event in between; one of them opens."""

    tokens: str
    left_out: int
    between: str
    begun: dict[int, int]
    partitions: int

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        told: list[object] = []
        for n in range(PARTITIONS):
            token = self.tokens[n % len(self.tokens)]
            told.append(side.share(token, range(PARTITIONS)))
            if n == PARTITIONS - 1:
                self._happens(side)
            told.append(n != self.left_out and side.finish(side.recoveries[0], n))
        opened = [
            side.open(nth(side.recoveries, back), {0: 1}, self.begun, self.partitions)
            for back in (PARTITIONS, 1, 0)  # first one from before
        ]
        return told, opened

    def _happens(self, side: Side) -> None:
        if self.between == "unsealed":
            cast("Surgery", side.ledger).unseal(side.shard)
        elif self.between:
            side.fall(keeps_data=self.between == "restarted")


class LateEnd(NamedTuple):
    """A worker that was held up says that it is done, and opens."""

    recovery: int
    stretch: Stretch
    partitions: int

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        late = nth(side.recoveries, self.recovery)
        # What he holds now, by the name of the recovery that he was in before.
        mixed = side.finish(replace(side.recoveries[0], identity=late.identity), 6)
        put_back = side.reassert(late, self.stretch, at(self.stretch, claimed))
        return mixed, put_back, side.finish(late, 5), side.open(late, {}, {}, self.partitions)


class Unseal(NamedTuple):
    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        cast("Surgery", side.ledger).unseal(side.shard)
        return None


class Look(NamedTuple):
    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        found = cast("Inspection", side.ledger).look(side.shard)
        return found.sealed, found.recovering, found.done
