"""The same random calls to a server's ledger and to the rules: every answer must be the same.

A server's clock cannot be set. All time stamps here lie years in the past, so that "not later
than now" never binds; the suite has exercises for time stamps that lie in the future.
"""

import itertools

from hypothesis import strategies as st

from eos.core.record import Shard
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.ledger_suite import Rig
from eos.testing.ledger_suite.desk import GENERATION, WINDOW
from tests.conformance.history import (
    KEYS,
    PARTITIONS,
    Advance,
    Begin,
    Call,
    Claim,
    Confirm,
    Fall,
    Late,
    Lock,
    Place,
    Recover,
    Rewind,
    Settle,
    Side,
    Stretch,
    Take,
    Void,
)
from tests.conformance.history_sharing import LateEnd, Look, Share, ShareAll, Unseal
from tests.conformance.rigs import MemoryRig

_shards = itertools.count()

partition = st.integers(0, PARTITIONS - 1)
each_partition = list(range(PARTITIONS))
# Few keys, so that copies abound; or a run of many, so that buckets split.
keys = st.lists(st.integers(-1, 6), max_size=6) | st.builds(
    lambda first, n: list(range(first, first + n)),
    st.integers(10, KEYS - 120),
    st.integers(1, 120),
)
stretch = st.builds(
    Stretch,
    partition=partition,
    back=st.sampled_from([0, 0, 0, 1, 2, 5, 100, -1]),
    keys=keys,
    payload=st.sampled_from([1, 1, 1, 2]),
    times=st.lists(st.integers(0, 4 * GENERATION), min_size=1, max_size=3),
    gap=st.sampled_from([0, 0, 2]),
    settled=st.booleans(),
    audited=st.sampled_from([0, 0, 1, 2, 3]),
    redriven=st.sampled_from([0, 0, 1, 2]),
    named=st.sampled_from([1, 2, 3, 6, 0, -1, -2]),
    void=st.sampled_from([0, 0, 0, 2, 40]),
)
stretches = st.lists(stretch, min_size=1, max_size=3, unique_by=lambda s: s.partition)
frontiers = st.dictionaries(partition, st.integers(0, 30), max_size=PARTITIONS)
nothing: dict[int, int] = {}
begun = st.just(nothing) | st.dictionaries(partition, st.integers(0, 60), max_size=PARTITIONS)
log_times = st.sampled_from(
    [0, *(WINDOW + n * GENERATION + late for n in range(1, 5) for late in (-1, 0))]
)
telling = st.dictionaries(partition, log_times, min_size=1) | log_times.map(
    lambda time: dict.fromkeys(each_partition, time)
)

claim = st.builds(
    Claim,
    stretches=stretches,
    unsettled=st.sampled_from([1000, 1000, 3, 1, 0]),
    stale=st.sampled_from([0, 0, 0, 0, 1]),
    marks=st.booleans(),
)
place = st.builds(
    Place,
    partition,
    st.sampled_from([0, 0, 1, 2, 5, 30, -3]),
    stale=st.sampled_from([0, 0, 1]),
)
places = st.lists(place, min_size=1, max_size=3)
seals = st.sampled_from([0, 0, 1])
marks = st.one_of(
    st.builds(Begin, seals, place), st.builds(Settle, seals, places), st.builds(Rewind, places)
)
advance = st.builds(
    Advance,
    st.lists(telling, min_size=1, max_size=4),
    st.sampled_from([PARTITIONS, PARTITIONS, 1]),
)
weighted: list[st.SearchStrategy[Call]] = [
    *[claim] * 8,
    *[marks] * 4,
    *[advance] * 3,
    st.builds(Take, st.lists(partition, min_size=1, unique=True)),
    st.builds(Void, place, st.sampled_from([1, 2, 5, 40])),
    st.builds(Confirm, st.integers(0, 2)),
    st.builds(Lock, st.sampled_from("ab"), st.sampled_from([False, True, True])),
    st.builds(Recover, st.lists(stretch, max_size=2), frontiers, begun),
    st.builds(Late, st.integers(0, 1), st.booleans(), st.booleans(), stretch, frontiers, begun),
    st.builds(Fall, st.booleans(), st.sampled_from([True, True, True, False])),
]
# Not by one_of, which takes the same strategy twice for one.
calls = st.integers(0, len(weighted) - 1).flatmap(weighted.__getitem__)
begin: list[Call] = [Recover([], {}, {}), Take(each_partition)]
histories = st.lists(calls, min_size=12, max_size=40).map(begin.__add__)

# Apart from those: what a seed finds in them shall stay as it is.
tokens = st.sampled_from("abc")
wanted = st.lists(partition, unique=True) | st.just(each_partition)
share = st.builds(
    Share,
    tokens,
    wanted,
    st.sampled_from([False, True, True]),
    st.lists(stretch, max_size=2),
    st.booleans(),
    st.integers(0, 9),
)
share_all = st.builds(
    ShareAll,
    st.sampled_from(["a", "ab", "abc"]),
    st.sampled_from([-1, -1, -1, 0, 2]),
    st.sampled_from(["", "", "", "lost", "restarted", "unsealed"]),
    begun,
    st.sampled_from([PARTITIONS, PARTITIONS, PARTITIONS + 1, 0]),
)
late_end = st.builds(
    LateEnd, st.integers(0, 4), stretch, st.sampled_from([PARTITIONS, PARTITIONS, 0])
)
sharing: list[st.SearchStrategy[Call]] = [
    *[share] * 4,
    *[share_all] * 2,
    *[late_end] * 2,
    st.just(Look()),
    *[st.just(Unseal())] * 2,
    claim,
    st.builds(Lock, tokens, st.sampled_from([False, True, True])),
    st.builds(Recover, st.lists(stretch, max_size=2), frontiers, begun),
    st.builds(Fall, st.booleans(), st.just(value=False)),
]
shared_calls = st.integers(0, len(sharing) - 1).flatmap(sharing.__getitem__)
first_of_them: list[Call] = [Take(each_partition), Share("a", [])]
shared_histories = st.lists(shared_calls, min_size=6, max_size=20).map(first_of_them.__add__)

# And those of few keys, which are put back, lie in gaps, and were suppressed.
few = st.builds(
    Stretch,
    partition=st.integers(0, 1),
    back=st.sampled_from([0, 1, 2, 3]),
    keys=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    payload=st.just(1),
    times=st.just([1]),
    gap=st.just(0),
    settled=st.sampled_from([True, True, False]),
    audited=st.sampled_from([0, 1, 2, 3]),
    void=st.sampled_from([0, 0, 2]),
)
claim_few = st.builds(
    Claim,
    st.lists(few, min_size=1, max_size=1),
    unsettled=st.sampled_from([1000, 1]),
    stale=st.just(0),
    marks=st.just(value=False),
)
rebuilding: list[st.SearchStrategy[Call]] = [
    *[claim_few] * 3,
    *[st.builds(Recover, st.lists(few, max_size=2), st.just({}), st.just({}))] * 2,
    *[
        st.builds(
            Void,
            st.builds(Place, st.integers(0, 1), st.integers(0, 3), stale=st.just(0)),
            st.sampled_from([1, 2]),
        )
    ]
    * 2,
    st.builds(Fall, st.just(value=False), st.just(value=True)),
]
rebuilding_calls = st.integers(0, len(rebuilding) - 1).flatmap(rebuilding.__getitem__)
rebuilt_histories = st.lists(rebuilding_calls, min_size=4, max_size=12).map(begin.__add__)


def compare(history: list[Call], rig: Rig) -> None:
    """Play a history on both ledgers; fail at the first answer that differs."""
    shard = Shard("differential", str(next(_shards)), "topic")
    rules, server = Side(MemoryRig(), shard), Side(rig, shard)
    server.take([0])  # it may make its tables first
    server.epochs.clear()
    server.fall(keeps_data=False)
    try:
        for call in history:
            claimed = claimed_by(rules)
            want, got = call.on(rules, claimed), call.on(server, claimed)
            assert got == want, call
        assert server.everything() == rules.everything()
    finally:
        server.ledger.close()


def claimed_by(side: Side) -> dict[int, int]:
    assert isinstance(side.ledger, MemoryLedger)
    state = side.ledger.snapshot().get(side.shard)
    return dict(state.claimed) if state else {}
