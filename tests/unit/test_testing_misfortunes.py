"""An app on the test bench, when things go wrong; and that the bench tells right from wrong."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import pytest

import eos
from eos.core.events import Recovered
from eos.stores.memory.ledger import MemoryLedger
from eos.testing import Run, run


def echo(record: eos.Record) -> eos.Send:
    return eos.Send(record.value)


def app_of(
    handler: Callable[[Any], Any] = echo, to: str | None = "out", **settings: Any
) -> eos.App:
    app = eos.App(group="g", **settings)
    app.step("in", to=to)(handler)
    return app


def break_off(t: Run, when: Literal["before", "after"], point: str, what: str = "crash") -> None:
    getattr(t, what)(**{when: point})


POINTS = [
    "handler",
    "begin",
    "produce",
    "send_offsets",
    "confirm",
    "commit",
    "claim",
    "take",
    "open",
]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["crash", "stall", "rebalance", "lose_ledger"])
def test_whatever_goes_wrong_in_the_transaction_tier_nothing_is_lost_or_repeated(
    what: str, when: Literal["before", "after"], point: str
) -> None:
    with run(app_of(), partitions=2) as t:
        t.send("in", "a", copies=2, partition=(0, 1))
        break_off(t, when, point, what)
        t.send("in", "b")
        assert sorted(t.values("out"), key=str) == [b"a", b"b"]
        assert t.settled
        assert t.crashes == (what == "crash")
        assert t.suppressed == 1


def test_a_crash_after_the_answer_is_lost_only_to_the_worker_that_died() -> None:
    with run(app_of()) as t:
        t.send("in", "a")
        t.crash(after="commit")
        assert t.values("out") == [b"a"]
        assert len(t.handled) == 1
    with run(app_of()) as t:
        t.send("in", "a")
        t.crash(before="commit")
        assert t.values("out") == [b"a"]
        assert len(t.handled) == 2


def test_a_dead_worker_does_nothing_more() -> None:
    # One record a transaction: the second must not be handled by the one that died at the first.
    tokens: list[tuple[bytes | None, int]] = []

    def handler(record: eos.Record) -> eos.Send:
        tokens.append((record.value, record.fencing_token))
        return eos.Send(record.value)

    with run(app_of(handler, batch_records=1, commit_interval=0)) as t:
        t.send("in", "a")
        t.send("in", "b")
        t.crash(after="send_offsets")
        assert t.values("out") == [b"a", b"b"]
    assert [value for value, _ in tokens] == [b"a", b"a", b"b"]
    assert tokens[0][1] < tokens[1][1] == tokens[2][1]


def test_the_nth_call_from_now_on_is_meant() -> None:
    with run(app_of(batch_records=1, commit_interval=0)) as t:
        t.send("in", "a")
        t.run()
        t.crash(before="commit", call=2)
        for value in "bcd":
            t.send("in", value)
        assert t.values("out") == [b"a", b"b", b"c", b"d"]
        assert Counter(record.value for record in t.handled) == {b"a": 1, b"b": 1, b"c": 2, b"d": 1}


def test_several_crashes_come_one_after_the_other() -> None:
    with run(app_of()) as t:
        t.send("in", "a")
        t.crash(after="handler")
        t.crash(after="produce")
        t.crash(before="commit")
        assert t.values("out") == [b"a"]
        assert t.crashes == 3


def test_a_zombie_settles_nothing() -> None:
    with run(app_of(batch_records=1, commit_interval=0)) as t:
        t.send("in", "a")
        t.stall(after="send_offsets")
        t.send("in", "b")
        assert t.values("out") == [b"a", b"b"]
        assert [record.value for record in t.handled] == [b"a", b"a", b"b"]


def test_a_crash_at_once_comes_after_what_was_sent_before() -> None:
    with run(app_of()) as t:
        t.send("in", "a")
        t.crash()
        assert [record.value for record in t.handled] == [b"a"]
        t.send("in", "b", copies=2)
        assert t.values("out") == [b"a", b"b"]
        assert t.crashes == 1


def test_a_ledger_that_is_lost_is_rebuilt_from_the_log() -> None:
    with run(app_of()) as t:
        t.send("in", "a", id="1")
        t.lose_ledger()
        t.send("in", "a", id="1")
        assert t.values("out") == [b"a"]
        assert t.suppressed == 1
        assert sum(isinstance(event, Recovered) for event in t.events) == 2  # one at the start


def test_a_worker_that_is_replaced_goes_on_where_the_last_one_stopped() -> None:
    with run(app_of()) as t:
        t.send("in", "a", id="1")
        t.restart()
        t.send("in", "a", id="1")
        t.send("in", "b")
        assert t.values("out") == [b"a", b"b"]
        first, second = t.handled
        assert first.fencing_token < second.fencing_token


def test_records_that_are_delivered_again_are_handled_again_and_sent_once() -> None:
    with run(app_of()) as t:
        t.send("in", "a")
        t.redeliver()
        assert t.values("out") == [b"a"]
        assert len(t.handled) == 2
        assert t.suppressed == 0


@pytest.mark.parametrize("point", ["claim", "confirm", "produce", "poll"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_server_that_is_away_for_one_call_costs_nothing(
    when: Literal["before", "after"], point: str
) -> None:
    with run(app_of()) as t:
        t.send("in", "a", copies=2)
        break_off(t, when, point, "disconnect")
        assert t.values("out") == [b"a"]


def test_a_crash_that_never_came_is_no_test() -> None:
    t = run(app_of()).__enter__()
    t.send("in", "a")
    t.crash(after="ledger.rewind", call=2)
    assert t.values("out") == [b"a"]
    with pytest.raises(AssertionError, match=r"never came about: the crash after ledger\.rewind"):
        t.__exit__(None, None, None)


def test_what_the_test_itself_says_is_not_hidden_by_a_crash_that_never_came() -> None:
    def fails() -> None:
        with run(app_of()) as t:
            t.crash(before="commit")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


@pytest.mark.parametrize("point", ["comit", "ledger.produce", "nothing.commit", "", "_private"])
def test_a_crash_point_that_does_not_exist_is_refused(point: str) -> None:
    with run(app_of()) as t, pytest.raises(ValueError, match="no port has a call"):
        t.crash(after=point)


def test_a_crash_point_is_before_or_after() -> None:
    with run(app_of()) as t:
        with pytest.raises(ValueError, match="one of them"):
            t.crash(before="commit", after="commit")
        with pytest.raises(ValueError, match="counted from 1"):
            t.crash(before="commit", call=0)
        with pytest.raises(ValueError, match="one of them"):
            t.disconnect()


def test_a_ledger_of_the_users_own_is_not_emptied_behind_his_back() -> None:
    class Wrapped:
        def __init__(self) -> None:
            self._ledger = MemoryLedger(60)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._ledger, name)

    theirs: Any = Wrapped()
    with run(app_of(), ledger=theirs) as t:
        t.send("in", "a", copies=2)
        assert t.values("out") == [b"a"]
        with pytest.raises(TypeError, match="Wrapped is no ledger in memory"):
            t.lose_ledger()


def test_an_app_of_two_tiers_must_be_told_where() -> None:
    app = app_of()
    app.step("other")(lambda _: None)
    with run(app) as t, pytest.raises(ValueError, match="two tiers"):
        t.redeliver()


def test_what_belongs_to_the_tests_own_thread_can_be_used_by_a_handler() -> None:
    database = sqlite3.connect(":memory:")  # it refuses any other thread
    database.execute("CREATE TABLE seen (value BLOB)")

    def handler(record: eos.Record) -> eos.Send:
        database.execute("INSERT INTO seen VALUES (?)", (record.value,))
        return eos.Send(record.value)

    with run(app_of(handler)) as t:
        t.send("in", "a")
        assert t.values("out") == [b"a"]
    assert database.execute("SELECT count(*) FROM seen").fetchone() == (1,)
