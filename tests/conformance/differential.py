"""The same random calls to the scripts and to the rules: every answer must be the same.

Redis's clock cannot be set. All time stamps here lie years in the past, so that "not later
than now" never binds; the suite has exercises for time stamps that lie in the future.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from eos.core.ports import Assertion, Claimed, Claims, Ledger, Recovery
from eos.core.record import Shard
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, digest
from tests.conformance.rigs import MemoryRig, RedisRig

PARTITIONS = 3
BULK = 400
_shards = itertools.count()


class Stretch(NamedTuple):
    """Records of one partition; positions are relative to what is claimed there."""

    partition: int
    back: int
    keys: list[int]
    payload: int
    times: list[int]
    gap: int


class Take(NamedTuple):
    partitions: list[int]


class Claim(NamedTuple):
    stretches: list[Stretch]
    frontier_back: int
    stale: int


class Confirm(NamedTuple):
    seal: int


class Lock(NamedTuple):
    token: str
    expires: bool


class Reassert(NamedTuple):
    recovery: int
    stretch: Stretch


class Open(NamedTuple):
    recovery: int
    frontiers: dict[int, int]


class Recover(NamedTuple):
    stretches: list[Stretch]
    frontiers: dict[int, int]


class Advance(NamedTuple):
    tellings: list[dict[int, int]]
    partitions: int


class Fall(NamedTuple):
    keeps_data: bool
    recovers: bool


class Interrupted(NamedTuple):
    """A recovery during which the server falls, and which goes on as if nothing were."""

    keeps_data: bool
    stretch: Stretch
    frontiers: dict[int, int]


Call = Take | Claim | Confirm | Lock | Reassert | Open | Recover | Interrupted | Advance | Fall

partition = st.integers(0, PARTITIONS - 1)
# Few keys, so that copies abound; or a run of many, so that buckets split.
keys = st.lists(st.integers(-1, 6), max_size=6) | st.builds(
    lambda first, n: list(range(first, first + n)), st.integers(10, BULK), st.integers(1, 120)
)
stretch = st.builds(
    Stretch,
    partition=partition,
    back=st.sampled_from([0, 0, 0, 1, 2, 5, 100, -1]),
    keys=keys,
    payload=st.sampled_from([1, 1, 1, 2]),
    times=st.lists(st.integers(0, 8 * GENERATION // 2), min_size=1, max_size=3),
    gap=st.sampled_from([0, 0, 2]),
)
which = st.integers(0, 2)
frontiers = st.dictionaries(partition, st.integers(0, 30), max_size=PARTITIONS)
log_times = st.sampled_from(
    [0, *(WINDOW + n * GENERATION + late for n in range(1, 5) for late in (-1, 0))]
)
claim = st.builds(
    Claim,
    stretches=st.lists(stretch, min_size=1, max_size=3, unique_by=lambda s: s.partition),
    frontier_back=st.sampled_from([1000, 1000, 3, 1, 0]),
    stale=st.sampled_from([0, 0, 0, 0, 1]),
)
telling = st.dictionaries(partition, log_times, min_size=1) | log_times.map(
    lambda time: dict.fromkeys(range(PARTITIONS), time)
)
advance = st.builds(
    Advance,
    st.lists(telling, min_size=1, max_size=4),
    st.sampled_from([PARTITIONS, PARTITIONS, 1]),
)
calls: st.SearchStrategy[Call] = st.one_of(
    *[claim] * 6,
    st.builds(Recover, st.lists(stretch, max_size=2), frontiers),
    st.builds(Take, st.lists(partition, min_size=1, unique=True)),
    advance,
    advance,
    st.builds(Confirm, which),
    st.builds(Lock, st.sampled_from("ab"), st.sampled_from([False, True, True])),
    st.builds(Reassert, which, stretch),
    st.builds(Open, which, frontiers),
    st.builds(Interrupted, st.booleans(), stretch, frontiers),
    st.builds(Fall, st.booleans(), st.sampled_from([True, True, True, False])),
)
begin: list[Call] = [Recover([], {}), Take([0, 1, 2])]
histories = st.lists(calls, min_size=12, max_size=40).map(begin.__add__)


@dataclass
class Side:
    """One of the two ledgers, and what it has handed out so far, newest first."""

    ledger: Ledger
    lose: Callable[[], None]
    restart: Callable[[], None]
    shard: Shard
    epochs: dict[int, list[int]] = field(default_factory=dict)
    seals: list[str] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)

    def nth(self, things: list[Any], n: int) -> Any:
        return things[min(n, len(things) - 1)]

    def play(self, call: Call, claimed: dict[int, int]) -> object:
        """Make the call; give the answer without what may differ between servers."""
        match call:
            case Take(partitions):
                return self.take(partitions)
            case Claim(stretches, frontier_back, stale):
                return self.claim(
                    [self.claims(s, claimed, frontier_back, stale) for s in stretches]
                )
            case Confirm(n):
                seal = self.nth(self.seals, n) if self.seals else "none"
                return self.ledger.confirm(self.shard, seal)
            case Lock(token, expires):
                return self.lock(token, expires=expires)
            case Reassert(n, s) if self.recoveries:
                return self.reassert(self.nth(self.recoveries, n), s, claimed)
            case Open(n, ends) if self.recoveries:
                return self.ledger.open(self.shard, self.nth(self.recoveries, n), ends)
            case Recover(stretches, ends):
                return self.recover(stretches, ends, claimed)
            case Advance(tellings, partitions):
                return [self.advance(times, partitions) for times in tellings]
            case Interrupted(keeps_data, s, ends):
                self.lock("a", expires=False)
                self.fall(keeps_data=keeps_data)
                late = self.nth(self.recoveries, 0)
                put_back = self.reassert(late, s, claimed)
                return put_back, self.ledger.open(self.shard, late, ends)
            case Fall(keeps_data, recovers):
                self.fall(keeps_data=keeps_data)
                return recovers and self.recover([], {}, claimed)
        return None

    def fall(self, *, keeps_data: bool) -> None:
        (self.restart if keeps_data else self.lose)()

    def take(self, partitions: list[int]) -> object:
        taken = self.ledger.take(self.shard, partitions)
        for p in partitions:
            self.epochs.setdefault(p, [0]).insert(0, taken[p].epoch)
        grown = [self.epochs[p][0] > self.epochs[p][1] for p in partitions]
        return [(p, taken[p].claimed, taken[p].floor) for p in taken], grown

    def claims(
        self, stretch: Stretch, claimed: dict[int, int], frontier_back: int, stale: int
    ) -> Claims:
        p, n = stretch.partition, len(stretch.keys)
        start = max(0, claimed.get(p, 0) - stretch.back)
        times = itertools.islice(itertools.cycle(stretch.times), n)
        return Claims(
            partition=p,
            epoch=self.nth(self.epochs.get(p, [0]), stale),
            frontier=max(0, start + n - frontier_back),
            start=start,
            end=start + n + stretch.gap,
            offsets=list(range(start, start + n)),
            digests=[digest(None if k < 0 else str(k)) for k in stretch.keys],
            fingerprints=[stretch.payload] * n,
            times=[BASE + t for t in times],
        )

    def claim(self, batch: list[Claims]) -> object:
        answer = self.ledger.claim(self.shard, batch)
        if not isinstance(answer, Claimed):
            return answer
        if answer.seal not in self.seals:
            self.seals.insert(0, answer.seal)
        return answer.verdicts, answer.owners, self.seals.index(answer.seal)

    def lock(self, token: str, *, expires: bool) -> object:
        recovery = self.ledger.lock(self.shard, token, 0.001 if expires else 60)
        if expires:
            time.sleep(0.004)
        if recovery is None:
            return None
        self.recoveries.insert(0, recovery)
        return recovery.token, recovery.sealed, dict(recovery.claimed)

    def reassert(self, recovery: Recovery, stretch: Stretch, claimed: dict[int, int]) -> bool:
        told = self.claims(stretch, claimed, 0, 0)
        lists = (told.offsets, told.digests, told.fingerprints, told.times)
        return self.ledger.reassert(
            self.shard, recovery, Assertion(told.partition, told.end, *lists)
        )

    def advance(self, times: dict[int, int], partitions: int) -> int:
        told = {p: BASE + time for p, time in times.items()}
        return self.ledger.advance(self.shard, told, partitions)

    def recover(
        self, stretches: list[Stretch], ends: dict[int, int], claimed: dict[int, int]
    ) -> object:
        lock = self.ledger.lock
        recovery = lock(self.shard, "a", 60) or lock(self.shard, "b", 60)
        assert recovery
        put_back = [self.reassert(recovery, s, claimed) for s in stretches]
        return recovery.sealed, put_back, self.ledger.open(self.shard, recovery, ends)

    def everything(self) -> list[object]:
        """Give all that the ledger knows, by asking: owners from a partition that is new."""
        every = Stretch(PARTITIONS, 0, list(range(BULK + 120)), 0, [9 * GENERATION], 0)
        return [
            self.recover([], {PARTITIONS: 0}, {}),
            self.take(list(range(PARTITIONS))),
            self.ledger.advance(self.shard, {}, PARTITIONS),
            self.claim([self.claims(every, {}, 1000, 0)]),
        ]


def compare(history: list[Call], redis_url: str) -> None:
    """Play a history on both ledgers; fail at the first answer that differs."""
    settings = {"window": WINDOW, "generation": GENERATION}
    rigs = MemoryRig(), RedisRig(redis_url)
    shard = Shard("differential", str(next(_shards)), "topic")
    rules, scripts = (Side(r.ledger(**settings), r.lose, r.restart, shard) for r in rigs)
    scripts.lose()
    try:
        for call in history:
            claimed = known(rules.ledger, shard)
            want, got = rules.play(call, claimed), scripts.play(call, claimed)
            assert got == want, call
        assert scripts.everything() == rules.everything()
    finally:
        scripts.ledger.close()


def known(ledger: Ledger, shard: Shard) -> dict[int, int]:
    taken = ledger.snapshot().get(shard)  # type: ignore[attr-defined] # the memory ledger
    return dict(taken.claimed) if taken else {}
