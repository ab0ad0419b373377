"""How owners lie in Redis: how large, how many, and how they go."""

from collections.abc import Iterator

import pytest

from eos.core.errors import RetriableError
from eos.core.ports import Known
from eos.core.rules import Admission, Verdict
from eos.stores.redis import scripts, wire
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, Desk, Rec
from tests.conformance.mutants import crowded, of_one_bucket
from tests.conformance.rigs import OwnServer

FRESH = Verdict.FRESH


def records(n: int, name: str = "key", time: int = BASE) -> list[Rec]:
    return [Rec(f"{name}-{i}", time=time) for i in range(n)]


def test_a_generation_that_goes_is_unlinked_a_part_with_each_call(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    for start in range(0, 20_000, 2000):
        desk.verdicts(0, start, *records(2000, f"from-{start}"))
    passed = BASE + GENERATION + WINDOW
    left = [len(list(buckets(rig, desk)))]
    while left[-1]:
        assert desk.advance({0: passed, 1: passed}) == 0
        left.append(len(list(buckets(rig, desk))))
        assert 0 < left[-2] - left[-1] <= 2000
    assert len(left) > 2
    assert rig.redis.hget(wire.meta_key(desk.shard), "dropping") == b""


def test_a_generation_begins_with_as_many_buckets_as_its_predecessor(
    rig: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "CLAIM", crowded(scripts.CLAIM))
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, *records(500))
    desk.verdicts(0, 500, *records(500, "more"))
    rig.redis.config_resetstat()
    for start in range(1000, 2000, 100):
        desk.verdicts(0, start, *records(100, f"from-{start}", BASE + GENERATION))
    assert "cmdstat_hgetall" not in rig.redis.info("commandstats"), "a bucket was split"


def test_owners_lie_in_small_hashes_under_one_hash_tag(
    rig: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.lose()
    desk = Desk.opened(rig)
    # From one bucket on, so that all of them are made by splitting.
    monkeypatch.setattr(scripts, "CLAIM", of_one_bucket(scripts.CLAIM))
    with rig.set("hash-max-ziplist-entries", 128):
        for start in range(0, 30_000, 1000):
            desk.verdicts(0, start, *records(1000, f"from-{start}"))
        names = list(buckets(rig, desk))
        sizes = [rig.redis.hlen(name) for name in names]
        encodings = {rig.redis.object("encoding", name) for name in names}
    assert encodings in ({b"listpack"}, {b"ziplist"})  # as 6.2 calls it
    assert 30_000 / 20 - 3 <= len(names) <= 30_000 / 20 + 3
    assert sum(sizes) == 30_000
    assert max(sizes) <= 128
    tag = wire.meta_key(desk.shard)[len("eos:") :].encode()
    assert all(tag in name for name in rig.redis.scan_iter())


def test_a_batch_without_any_key_is_one_small_call(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    batch = [desk.claims(0, 1, end=501, frontier=1, begun=501)]
    assert len(wire.pack_claims(batch, GENERATION)) < 64
    rig.redis.config_resetstat()
    answer = desk.ask(*batch)
    calls = {name: told["calls"] for name, told in rig.redis.info("commandstats").items()}
    assert calls.pop("cmdstat_config|resetstat", 1) == 1
    # What is known is read once and written once; the rest asks who the server is.
    assert calls == {
        "cmdstat_evalsha": 1,
        "cmdstat_time": 1,
        "cmdstat_info": 2,
        "cmdstat_hmget": 1,
        "cmdstat_hset": 1,
    }
    assert (answer.verdicts, answer.known) == ([], {0: Known(1, 0)})
    taken = desk.take(0)[0]
    assert (taken.claimed, taken.floor, taken.begun) == (501, 1, 501)


def test_owners_behind_verdicts_cost_one_look_at_each_of_their_partitions(rig: OwnServer) -> None:
    desk = Desk.opened(rig, partitions=4)
    for p in (0, 1, 2):
        desk.verdicts(p, 0, *records(50, f"of-{p}"))
    copies = [record for p in (0, 1, 2) for record in records(50, f"of-{p}")]
    rig.redis.config_resetstat()
    assert desk.verdicts(3, 0, *records(50)) == [FRESH] * 50
    assert rig.redis.info("commandstats")["cmdstat_hmget"]["calls"] == 1
    assert desk.verdicts(3, 50, *copies) == [Verdict.DUPLICATE] * 150
    assert rig.redis.info("commandstats")["cmdstat_hmget"]["calls"] == 1 + 1 + 3


def test_an_owner_takes_no_more_than_40_bytes_and_all_of_them_are_found(rig: OwnServer) -> None:
    rig.lose()
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("first"))
    before = rig.redis.info("memory")["used_memory"]
    starts = range(1, 100_001, 1000)
    for start in starts:
        assert desk.verdicts(0, start, *records(1000, f"from-{start}")) == [FRESH] * 1000
    assert (rig.redis.info("memory")["used_memory"] - before) / 100_000 <= 40
    for start in starts:
        copies = desk.ask(desk.claims(1, start - 1, *records(1000, f"from-{start}")))
        assert [o.offset for o in copies.owners.values()] == list(range(start, start + 1000))


def test_without_memory_nothing_is_claimed_and_nothing_half(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, *records(500))
    keys = rig.redis.dbsize()
    with rig.set("maxmemory", 1000):
        with pytest.raises(RetriableError, match="maxmemory"):
            desk.verdicts(0, 500, *records(500, "more"))
        assert rig.redis.dbsize() == keys
    assert desk.verdicts(1, 0, *records(500, "more")) == [FRESH] * 500
    assert desk.take(0)[0].claimed == 500


def test_without_memory_what_was_handled_is_settled(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, *records(50), begun=50)).seal
    with rig.set("maxmemory", 1000):
        assert desk.ledger.settle(desk.shard, seal, [desk.mark(0, 50)]) is Admission.OPEN
        with pytest.raises(RetriableError, match="maxmemory"):
            desk.ledger.begin(desk.shard, seal, desk.mark(0, 60))
    taken = desk.take(0)[0]
    assert (taken.floor, taken.begun) == (50, 50)


def test_without_memory_the_window_still_moves_and_frees_some(rig: OwnServer) -> None:
    rig.lose()
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, *records(5000))
    passed = BASE + GENERATION + WINDOW
    with rig.set("maxmemory", 1000):
        with pytest.raises(RetriableError):
            desk.verdicts(0, 5000, Rec("more"))
        used = rig.redis.info("memory")["used_memory"]
        for _ in range(3):
            assert desk.advance({0: passed, 1: passed}) == 0
        assert list(buckets(rig, desk)) == []
        assert rig.redis.info("memory")["used_memory"] < used


def buckets(rig: OwnServer, desk: Desk) -> Iterator[bytes]:
    tag = wire.meta_key(desk.shard)[len("eos:") :]
    yield from rig.redis.scan_iter(match=f"eos{scripts.LAYOUT}:{tag}:*", count=10_000)
