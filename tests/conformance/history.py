"""Calls to a ledger whose arguments fit any state it may be in: they are relative to it."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, cast

from eos.core.ports import Assertion, Claimed, Claims, Ledger, Mark, Recovery
from eos.core.ports.inspection import GenerationState, Inspection
from eos.core.record import Shard
from eos.core.rules import Gap
from eos.testing.ledger_suite import Rig
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, digest

PARTITIONS = 3
KEYS = 520

_T = TypeVar("_T")


class Stretch(NamedTuple):
    """Records of one partition; where they stand is relative to what is claimed there."""

    partition: int
    back: int
    keys: list[int]
    payload: int
    times: list[int]
    gap: int
    settled: bool = False
    audited: int = 0
    """Where it is settled: the audit has each n-th of them; 0: none."""
    redriven: int = 0
    """Each n-th of them was redriven; 0: none."""
    named: int = 0
    """So far before its own position it says that it was dead-lettered; negative: on another
    partition."""
    void: int = 0
    """In recovery: so many offsets before it are a gap."""


class Place(NamedTuple):
    """Where a mark is set, and how stale the epoch is of who sets it."""

    partition: int
    back: int
    stale: int


@dataclass
class Side:
    """One of two ledgers that get the same calls, and what it handed out, newest first."""

    rig: Rig
    shard: Shard
    epochs: dict[int, list[int]] = field(default_factory=dict)
    seals: list[str] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger: Ledger = self.rig.ledger(window=WINDOW, generation=GENERATION)

    def take(self, partitions: Sequence[int]) -> object:
        taken = self.ledger.take(self.shard, partitions)
        for p in partitions:
            self.epochs.setdefault(p, [0]).insert(0, taken[p].epoch)
        grown = [self.epochs[p][0] > self.epochs[p][1] for p in partitions]
        return [(p, t.claimed, t.floor, t.begun) for p, t in taken.items()], grown

    def claims(
        self,
        stretch: Stretch,
        start: int,
        unsettled: int = 0,
        stale: int = 0,
        *,
        marks: bool = False,
    ) -> Claims:
        p, n = stretch.partition, len(stretch.keys)
        times = itertools.islice(itertools.cycle(stretch.times), n)
        return Claims(
            partition=p,
            epoch=nth(self.epochs.get(p, [0]), stale),
            frontier=max(0, start + n - unsettled),
            start=start,
            end=start + n + stretch.gap,
            begun=start + n if marks else 0,
            offsets=list(range(start, start + n)),
            digests=[digest(None if k < 0 else str(k)) for k in stretch.keys],
            fingerprints=[stretch.payload] * n,
            times=[BASE + t for t in times],
            redriven={
                i: (p, max(0, start + i - stretch.named))
                if stretch.named > 0
                else ((p + 1) % PARTITIONS, max(0, start + i + stretch.named + 1))
                for i in range(0, n if stretch.redriven else 0, stretch.redriven or 1)
            },
        )

    def claim(self, batch: Sequence[Claims]) -> object:
        answer = self.ledger.claim(self.shard, batch)
        if not isinstance(answer, Claimed):
            return answer
        if answer.seal not in self.seals:
            self.seals.insert(0, answer.seal)
        told = answer.known, answer.hearsay, self.seals.index(answer.seal)
        return answer.verdicts, answer.owners, *told

    def marks(self, marks: Sequence[Place], claimed: Mapping[int, int]) -> list[Mark]:
        return [
            Mark(m.partition, nth(self.epochs.get(m.partition, [0]), m.stale), at(m, claimed))
            for m in marks
        ]

    def lock(self, token: str, seconds: float = 60) -> object:
        recovery = self.ledger.lock(self.shard, token, seconds)
        if recovery is None:
            return None
        self.recoveries.insert(0, recovery)
        return recovery.sealed, dict(recovery.claimed)

    def share(self, token: str, wanted: Sequence[int], seconds: float = 60) -> object:
        recovery = self.ledger.lock(self.shard, token, seconds, wanted)
        if recovery is None:
            return None
        self.recoveries.insert(0, recovery)
        told = recovery.sealed, dict(recovery.claimed), dict(recovery.floors)
        return *told, recovery.partition, recovery.done

    def finish(self, recovery: Recovery, frontier: int) -> bool:
        partition = max(0, recovery.partition or 0)
        end = Assertion(partition, frontier, settled=True, floor=frontier, done=True)
        return self.ledger.reassert(self.shard, recovery, end)

    def reassert(self, recovery: Recovery, stretch: Stretch, start: int) -> bool:
        told = self.claims(stretch, start)
        lists = (told.offsets, told.digests, told.fingerprints, told.times)
        audited = told.offsets[:: stretch.audited] if stretch.settled and stretch.audited else []
        assertion = Assertion(
            told.partition,
            told.end,
            *lists,
            stretch.settled,
            audited,
            told.redriven,
            start if stretch.settled and stretch.audited == 1 else told.end,
            [Gap(max(0, start - stretch.void), start)] if stretch.void and start else [],
        )
        return self.ledger.reassert(self.shard, recovery, assertion)

    def recover(self, frontiers: Mapping[int, int]) -> bool:
        recovery = self.ledger.lock(self.shard, "a", 60) or self.ledger.lock(self.shard, "b", 60)
        return recovery is not None and self.open(recovery, frontiers, {})

    def open(
        self,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        return self.ledger.open(self.shard, recovery, frontiers, begun, partitions)

    def seal(self, n: int) -> str:
        return nth(self.seals or ["none"], n)

    def fall(self, *, keeps_data: bool) -> None:
        (self.rig.restart if keeps_data else self.rig.lose)()

    def everything(self) -> list[object]:
        """Give all that the ledger knows, by asking: owners from a partition that is new."""
        every = Stretch(PARTITIONS, 0, list(range(KEYS)), 0, [9 * GENERATION], 0)
        return [
            self.recover({PARTITIONS: 0}),
            self.take(range(PARTITIONS)),
            self.ledger.advance(self.shard, {}, PARTITIONS),
            self.counts(),
            self.claim([self.claims(every, 0, 1000)]),
        ]

    def counts(self) -> list[GenerationState]:
        """Give how many owners there are in each generation that has any."""
        looking = cast("Inspection", self.ledger)
        return [each for each in looking.look(self.shard).generations if each.owners]


class Call(Protocol):
    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        """Make the call; give the answer without what may differ between servers."""


class Take(NamedTuple):
    partitions: list[int]

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        return side.take(self.partitions)


class Claim(NamedTuple):
    stretches: list[Stretch]
    unsettled: int
    stale: int
    marks: bool

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        return side.claim(
            [
                side.claims(s, at(s, claimed), self.unsettled, self.stale, marks=self.marks)
                for s in self.stretches
            ]
        )


class Begin(NamedTuple):
    seal: int
    place: Place

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        (mark,) = side.marks([self.place], claimed)
        return side.ledger.begin(side.shard, side.seal(self.seal), mark)


class Settle(NamedTuple):
    seal: int
    places: list[Place]

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        marks = side.marks(self.places, claimed)
        return side.ledger.settle(side.shard, side.seal(self.seal), marks)


class Rewind(NamedTuple):
    places: list[Place]

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        return side.ledger.rewind(side.shard, side.marks(self.places, claimed))


class Void(NamedTuple):
    place: Place
    width: int

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        (mark,) = side.marks([self.place], claimed)
        return side.ledger.void(side.shard, mark, max(0, mark.offset - self.width))


class Confirm(NamedTuple):
    seal: int

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        return side.ledger.confirm(side.shard, side.seal(self.seal))


class Lock(NamedTuple):
    token: str
    expires: bool

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        told = side.lock(self.token, 0.001 if self.expires else 60)
        if self.expires:
            time.sleep(0.004)
        return told


class Recover(NamedTuple):
    stretches: list[Stretch]
    frontiers: dict[int, int]
    begun: dict[int, int]

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        told = side.lock("a") or side.lock("b")
        recovery = side.recoveries[0]
        put_back = [side.reassert(recovery, s, at(s, claimed)) for s in self.stretches]
        return told, put_back, side.open(recovery, self.frontiers, self.begun)


class Late(NamedTuple):
    """A recovery that goes on after the server fell, or after the lock was lost."""

    recovery: int
    falls: bool
    keeps_data: bool
    stretch: Stretch
    frontiers: dict[int, int]
    begun: dict[int, int]

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:
        told = side.lock("a")
        if self.falls:
            side.fall(keeps_data=self.keeps_data)
        late = nth(side.recoveries, self.recovery)
        put_back = side.reassert(late, self.stretch, at(self.stretch, claimed))
        return told, put_back, side.open(late, self.frontiers, self.begun)


class Advance(NamedTuple):
    tellings: list[dict[int, int]]
    partitions: int

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        return [
            side.ledger.advance(
                side.shard, {p: BASE + t for p, t in times.items()}, self.partitions
            )
            for times in self.tellings
        ]


class Fall(NamedTuple):
    keeps_data: bool
    recovers: bool

    def on(self, side: Side, claimed: Mapping[int, int]) -> object:  # noqa: ARG002
        side.fall(keeps_data=self.keeps_data)
        return self.recovers and side.recover({})


def nth(things: Sequence[_T], n: int) -> _T:
    return things[min(n, len(things) - 1)]


def at(stretch: Stretch | Place, claimed: Mapping[int, int]) -> int:
    return max(0, claimed.get(stretch.partition, 0) - stretch.back)
