"""What happens to the ledger's server, and what the caller is told."""

import contextlib
import threading
from typing import Any

import pytest
import redis

from eos.core.errors import ConfigError, FatalError, RetriableError
from eos.core.ports import Assertion, Ledger, Mark
from eos.core.rules import Admission, Verdict
from eos.stores.redis import wire
from eos.stores.redis.ledger import RedisLedger
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, Desk, Rec
from tests.conformance.rigs import OwnServer
from tests.conformance.servers import free_port

FRESH, AGAIN, DUPLICATE = Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE


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
    commands = "evalsha eval info time del unlink hget hset hsetnx hmget hgetall hdel"
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
    seal, mark = desk.ask(desk.claims(1, 500)).seal, desk.mark(0, 9)
    assert desk.ledger.begin(desk.shard, seal, mark)
    assert desk.ledger.settle(desk.shard, seal, [mark]) is Admission.OPEN
    assert desk.ledger.rewind(desk.shard, [mark])
    desk.open({0: 9}, {0: 10})
    rig.redis.replicaof("127.0.0.1", free_port())
    rig.redis.replicaof("NO", "ONE")
    shared = desk.ledger.lock(desk.shard, "worker", 60, [0])
    assert shared
    assert desk.ledger.reassert(desk.shard, shared, Assertion(0, 9, done=True))
    assert desk.ledger.open(desk.shard, shared, {}, {}, 1)
    assert desk.advance({0: passed, 1: passed}) == 0


@pytest.mark.parametrize("layout", ["1", "3"])
def test_data_of_another_layout_are_refused_loudly_and_left_alone(
    rig: OwnServer, layout: str
) -> None:
    desk = Desk.opened(rig)
    recovery, mark = desk.lock(), Mark(0, desk.epochs[0], 1)
    meta = wire.meta_key(desk.shard)
    seal = rig.redis.hget(meta, "seal").decode()
    rig.redis.hset(meta, "layout", layout)
    before = rig.redis.hgetall(meta)
    for call in (
        lambda: desk.verdicts(0, 0, Rec("a")),
        lambda: desk.take(0),
        desk.lock,
        lambda: desk.ledger.confirm(desk.shard, seal),
        lambda: desk.ledger.begin(desk.shard, seal, mark),
        lambda: desk.ledger.settle(desk.shard, seal, [mark]),
        lambda: desk.ledger.rewind(desk.shard, [mark]),
        lambda: desk.ledger.reassert(desk.shard, recovery, desk.assertion(0, 0, Rec("a"))),
        lambda: desk.ledger.open(desk.shard, recovery, {0: 1}, {}),
        lambda: desk.advance({0: BASE}),
    ):
        with pytest.raises(FatalError, match="another version"):
            call()
    assert rig.redis.hgetall(meta) == before


def test_keys_that_somebody_else_wrote_are_refused_loudly(rig: OwnServer) -> None:
    desk = Desk.opened(rig)
    rig.redis.set(wire.meta_key(desk.shard), "mine")
    with pytest.raises(FatalError, match="somebody else"):
        desk.verdicts(0, 0, Rec("a"))
