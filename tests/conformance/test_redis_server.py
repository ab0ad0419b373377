"""What happens to the ledger's server, and what the caller is told."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from eos.core.errors import ConfigError, FatalError, RetriableError
from eos.core.ports import Ledger
from eos.core.rules import Verdict
from eos.stores.redis import scripts, wire
from eos.stores.redis.ledger import RedisLedger
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, Desk, Rec
from tests.conformance.mutants import crowded, of_one_bucket
from tests.conformance.servers import RedisServer, free_port, redis_server

FRESH, AGAIN, DUPLICATE = Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE


class OwnServer:
    """A rig whose server may be stopped, starved and misconfigured."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis: Any = redis.Redis.from_url(server.url)

    def ledger(self, *, window: int, generation: int) -> Ledger:
        return RedisLedger(self.server.url, window=window, generation=generation, timeout=1)

    def lose(self) -> None:
        self.redis.flushall()

    def restart(self) -> None:
        self.server.stop(save=True)
        self.server.start()

    @contextlib.contextmanager
    def set(self, name: str, value: str | int) -> Iterator[None]:
        before = self.redis.config_get(name)[name]
        self.redis.config_set(name, value)
        try:
            yield
        finally:
            self.redis.config_set(name, before)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with redis_server(tmp_path_factory.mktemp("own")) as server:
        yield OwnServer(server)


def records(n: int, name: str = "key", time: int = BASE) -> list[Rec]:
    return [Rec(f"{name}-{i}", time=time) for i in range(n)]


def test_a_restart_that_lost_nothing_closes_the_ledger_and_keeps_its_owners(
    rig: OwnServer,
) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, *records(100))
    rig.restart()
    desk.closed(desk.claims(0, 100, Rec("next")))
    desk.open({0: 50, 1: 0})
    assert desk.verdicts(1, 0, *records(100)) == [DUPLICATE] * 100


def test_a_restart_that_lost_everything_closes_the_ledger(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    rig.lose()
    rig.restart()
    desk.closed(desk.claims(0, 1, Rec("b")))


def test_a_server_that_forgot_its_scripts_gets_the_whole_batch_again(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    rig.redis.script_flush()
    assert desk.verdicts(0, 0, *records(50)) == [FRESH] * 50


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


def buckets(rig: OwnServer, desk: Desk) -> Iterator[bytes]:
    tag = wire.meta_key(desk.shard)[len("eos:") :]
    yield from rig.redis.scan_iter(match=f"eos1:{tag}:*", count=10_000)


def test_a_server_that_may_evict_keys_is_refused(rig: OwnServer) -> None:
    with rig.set("maxmemory-policy", "allkeys-lru"), pytest.raises(ConfigError, match="noevic"):
        Desk.opened(rig)


def test_another_server_under_the_same_url_is_looked_at_before_it_is_opened(
    rig: OwnServer,
) -> None:
    desk = Desk.opened(rig)
    with rig.set("maxmemory-policy", "allkeys-lru"):
        desk.verdicts(0, 0, Rec("a"))
        rig.redis.replicaof("127.0.0.1", free_port())
        rig.redis.replicaof("NO", "ONE")
        with pytest.raises(ConfigError, match="noeviction"):
            desk.lock()


def test_a_server_that_is_too_old_is_refused(
    rig: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis.Redis, "info", lambda *_: {"redis_version": "6.0.16"})
    with pytest.raises(ConfigError, match=r"6\.0\.16"):
        Desk.opened(rig)


def test_a_server_that_is_away_may_come_back(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    rig.server.stop()
    with pytest.raises(RetriableError, match="cannot be reached"):
        desk.verdicts(0, 0, Rec("a"))
    rig.server.start()
    desk.closed(desk.claims(0, 0, Rec("a")))


def test_a_server_that_does_not_answer_may_do_so_later(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    rig.redis.client_pause(1500)
    with pytest.raises(RetriableError, match="in time"):
        desk.verdicts(0, 0, Rec("a"))
    rig.redis.client_unpause()
    # The claim may have come through, its answer was lost: to repeat it is right either way.
    assert desk.verdicts(0, 0, Rec("a"))[0] in (FRESH, AGAIN)
    assert desk.verdicts(1, 0, Rec("a")) == [DUPLICATE]


def test_a_server_that_runs_a_long_script_is_waited_for(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    with rig.set("lua-time-limit", 50):
        endless = threading.Thread(target=run_endless_script, args=(rig.server.url,))
        endless.start()
        with pytest.raises(RetriableError, match="SCRIPT KILL"):
            confirm_for_ever(desk)
        rig.redis.script_kill()
        endless.join()


def confirm_for_ever(desk: Desk) -> None:
    while True:
        desk.ledger.confirm(desk.shard, "")


def run_endless_script(url: str) -> None:
    client: Any = redis.Redis.from_url(url)
    with contextlib.suppress(redis.ResponseError):
        client.eval("while true do end", 0)


def test_a_replica_claims_nothing_and_confirms_nothing(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    rig.redis.replicaof("127.0.0.1", free_port())
    try:
        desk.closed(desk.claims(0, 1, Rec("b")))
        assert not desk.ledger.confirm(desk.shard, seal)
        with pytest.raises(RetriableError, match="primary"):
            desk.take(0)
    finally:
        rig.redis.replicaof("NO", "ONE")


def test_a_wrong_password_stops_the_worker(rig: OwnServer) -> None:
    url = rig.server.url.replace("redis://", "redis://nobody:wrong@")
    ledger = RedisLedger(url, window=WINDOW)
    with pytest.raises(FatalError, match="login"):
        ledger.take(Desk(rig).shard, [0])


def test_a_user_without_rights_is_told_which_it_needs(rig: OwnServer) -> None:
    rig.redis.acl_setuser(
        "reader", enabled=True, passwords=["+pw"], keys=["eos*"], commands=["+info", "+evalsha"]
    )
    url = rig.server.url.replace("redis://", "redis://reader:pw@")
    ledger = RedisLedger(url, window=WINDOW)
    with pytest.raises(FatalError, match="hsetnx"):
        ledger.take(Desk(rig).shard, [0])


def test_the_rights_that_the_message_names_are_enough(rig: OwnServer) -> None:
    commands = "evalsha eval info time get set del unlink hget hset hsetnx hmget hgetall hdel"
    rig.redis.acl_setuser(
        "worker",
        enabled=True,
        passwords=["+pw"],
        keys=["eos*"],
        commands=[f"+{command}" for command in commands.split()],
    )

    class WorkersRig(OwnServer):
        def ledger(self, *, window: int, generation: int) -> Ledger:
            url = self.server.url.replace("redis://", "redis://worker:pw@")
            return RedisLedger(url, window=window, generation=generation)

    desk = Desk.opened(WorkersRig(rig.server))
    rig.redis.script_flush()
    passed = BASE + GENERATION + WINDOW
    assert desk.verdicts(0, 0, *records(500)) == [FRESH] * 500
    assert desk.verdicts(1, 0, *records(500)) == [DUPLICATE] * 500
    desk.verdicts(0, 500, *records(500, "more"))
    assert desk.advance({0: passed, 1: passed}) == 0


def test_data_of_another_layout_are_refused_loudly(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    rig.redis.hset(wire.meta_key(desk.shard), "layout", "2")
    with pytest.raises(FatalError, match="another version"):
        desk.verdicts(0, 0, Rec("a"))
    with pytest.raises(FatalError, match="another version"):
        desk.lock()


def test_keys_that_somebody_else_wrote_are_refused_loudly(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    rig.redis.set(wire.meta_key(desk.shard), "mine")
    with pytest.raises(FatalError, match="somebody else"):
        desk.verdicts(0, 0, Rec("a"))


def test_a_url_that_is_none_is_a_wrong_setting_and_its_password_stays_secret() -> None:
    with pytest.raises(ConfigError, match="scheme") as told:
        RedisLedger("nonsense://user:pass@here", window=WINDOW)
    assert "pass" not in str(told.value)
