"""The same random calls to the scripts and to the rules: every answer must be the same.

Redis's clock cannot be set. All time stamps here lie years in the past, so that "not later
than now" never binds; the suite has exercises for time stamps that lie in the future.
"""

import itertools

from hypothesis import strategies as st

from eos.core.record import Shard
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.ledger_suite.desk import GENERATION, WINDOW
from tests.conformance.history import (
    KEYS,
    PARTITIONS,
    Advance,
    Call,
    Claim,
    Confirm,
    Fall,
    Late,
    Lock,
    Recover,
    Side,
    Stretch,
    Take,
)
from tests.conformance.rigs import MemoryRig, RedisRig

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
)
stretches = st.lists(stretch, min_size=1, max_size=3, unique_by=lambda s: s.partition)
frontiers = st.dictionaries(partition, st.integers(0, 30), max_size=PARTITIONS)
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
)
advance = st.builds(
    Advance,
    st.lists(telling, min_size=1, max_size=4),
    st.sampled_from([PARTITIONS, PARTITIONS, 1]),
)
calls: st.SearchStrategy[Call] = st.one_of(
    *[claim] * 6,
    advance,
    advance,
    st.builds(Take, st.lists(partition, min_size=1, unique=True)),
    st.builds(Confirm, st.integers(0, 2)),
    st.builds(Lock, st.sampled_from("ab"), st.sampled_from([False, True, True])),
    st.builds(Recover, st.lists(stretch, max_size=2), frontiers),
    st.builds(Late, st.integers(0, 1), st.booleans(), st.booleans(), stretch, frontiers),
    st.builds(Fall, st.booleans(), st.sampled_from([True, True, True, False])),
)
begin: list[Call] = [Recover([], {}), Take(each_partition)]
histories = st.lists(calls, min_size=12, max_size=40).map(begin.__add__)


def compare(history: list[Call], redis_url: str) -> None:
    """Play a history on both ledgers; fail at the first answer that differs."""
    shard = Shard("differential", str(next(_shards)), "topic")
    rules, scripts = Side(MemoryRig(), shard), Side(RedisRig(redis_url), shard)
    scripts.fall(keeps_data=False)
    try:
        for call in history:
            claimed = claimed_by(rules)
            want, got = call.on(rules, claimed), call.on(scripts, claimed)
            assert got == want, call
        assert scripts.everything() == rules.everything()
    finally:
        scripts.ledger.close()


def claimed_by(side: Side) -> dict[int, int]:
    assert isinstance(side.ledger, MemoryLedger)
    state = side.ledger.snapshot().get(side.shard)
    return dict(state.claimed) if state else {}
