"""An app on the test bench: what goes in, what comes out, and by which clock."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

import eos
import eos.testing
from eos.core.errors import FatalError
from eos.core.rules import Verdict
from eos.testing import Clock, StuckError, run


def echo(record: eos.Record) -> eos.Send:
    return eos.Send(record.value)


def app_of(
    handler: Callable[[Any], Any] = echo, to: str | None = "out", **settings: Any
) -> eos.App:
    app = eos.App(group="g", **settings)
    app.step("in", to=to)(handler)
    return app


def test_what_a_handler_sends_is_there_when_it_is_asked_for() -> None:
    with run(app_of()) as t:
        t.send("in", "a", key="k", headers={"h": "1"}, id="order-1")
        (sent,) = t.sent("out")
        assert (sent.topic, sent.value, sent.key) == ("out", b"a", b"k")
        assert len(sent.header("message-id") or b"") == 32
        assert sent.header("nothing") is None
        (record,) = t.handled
        assert record.header("h") == b"1"
        assert record.idempotency_key == "order-1"


def test_no_server_is_needed_nor_named() -> None:
    app = eos.App(group="g")
    app.step("in", to="out")(echo)
    with run(app) as t:
        t.send("in", "a")
        assert t.values("out") == [b"a"]


def test_a_servers_address_that_is_named_is_not_contacted() -> None:
    with run(app_of(brokers="192.0.2.1:9092", ledger="redis://192.0.2.1")) as t:
        t.send("in", "a")
        assert t.values("out") == [b"a"]


def test_copies_are_suppressed_and_counted() -> None:
    with run(app_of()) as t:
        t.send("in", "a", copies=3)
        t.send("in", "b")
        assert t.values("out") == [b"a", b"b"]
        assert t.suppressed == 2
        assert t.suppressed_as == {Verdict.DUPLICATE: 2}
        assert t.settled


def test_copies_take_turns_on_the_partitions_that_are_named() -> None:
    with run(app_of(), partitions=3) as t:
        t.send("in", "a", copies=3, partition=(1, 2))
        assert t.values("out") == [b"a"]
        assert [len(t.stage.kafka.log(("in", n))) for n in range(3)] == [0, 2, 1]
    with run(app_of(scope="partition"), partitions={"in": 2}) as t:
        t.send("in", "a", copies=2, partition=(0, 1))
        assert t.values("out") == [b"a", b"a"]


def test_records_of_one_key_stand_on_one_partition() -> None:
    with run(app_of(), partitions=4) as t:
        for n in range(8):
            t.send("in", str(n), key="k")
        assert len({record.partition for record in t.handled}) == 1


def test_each_send_is_another_event_unless_it_says_otherwise() -> None:
    with run(app_of()) as t:
        for _ in range(2):
            t.send("in", "same")  # two events that look alike
            t.send("in", "one", id="1")
            t.send("in", "none", id="")  # without a key nobody can tell
            t.send("in", "ce", headers={"ce_source": "s", "ce_id": "1"})
        assert sorted(t.values("out"), key=str) == [
            b"ce",
            b"none",
            b"none",
            b"one",
            b"same",
            b"same",
        ]


def test_the_same_id_with_another_payload_is_a_dead_letter() -> None:
    with run(app_of()) as t:
        t.send("in", "a", id="1")
        t.send("in", "b", id="1")
        assert t.values("out") == [b"a"]
        (letter,) = t.dead_letters
        assert (letter.value, letter.reason, letter.source) == (b"b", "conflict", "in")


def test_structures_are_sent_as_json_and_none_is_a_tombstone() -> None:
    with run(app_of(lambda record: eos.Send(repr(record.value)))) as t:
        t.send("in", {"n": 1})
        t.send("in", None)
        assert t.values("out") == [repr(json.dumps({"n": 1}).encode()).encode(), b"None"]


def test_what_a_step_decodes_and_encodes_is_decoded_and_encoded() -> None:
    app = eos.App(group="g")
    app.step("in", to="out", decode=json.loads, encode=json.dumps)(
        lambda record: eos.Send({"twice": 2 * record.value["n"]})
    )
    with run(app) as t:
        t.send("in", {"n": 2})
        t.send("in", "no JSON")
        assert [sent.json() for sent in t.sent("out")] == [{"twice": 4}]
        assert [letter.reason for letter in t.dead_letters] == ["undecodable"]


def test_steps_that_read_what_another_has_sent_are_worked_off_too() -> None:
    app = app_of(to="middle")
    app.step("middle", to="out")(lambda record: eos.Send((record.value or b"") + b"!"))
    with run(app, partitions=2) as t:
        t.send("in", "a", key="k")
        assert t.values("middle") == [b"a"]
        assert t.values("out") == [b"a!"]


def test_a_batch_step_is_given_its_records_together() -> None:
    app = eos.App(group="g")
    app.step("in", to="out", batch=True)(lambda records: [eos.Send(r.value) for r in records])
    with run(app) as t:
        t.send("in", "a", copies=2)
        t.send("in", "b")
        assert t.values("out") == [b"a", b"b"]
        assert [record.value for record in t.handled] == [b"a", b"b"]


def test_what_fails_is_tried_again_without_waiting_and_becomes_a_dead_letter() -> None:
    def handler(record: eos.Record) -> eos.Send:
        if record.value == b"poison" or record.attempt == 1:
            raise ValueError("no")
        return eos.Send(record.value)

    with run(app_of(handler, retries=2, backoff="1h")) as t:
        t.send("in", "flaky")
        t.send("in", "poison")
        assert t.values("out") == [b"flaky"]
        (letter,) = t.dead_letters
        assert (letter.reason, letter.attempts) == ("handler_failed", 3)
        assert letter.error == "ValueError: no"


def test_by_a_clock_of_the_tests_own_a_retry_waits_until_it_is_turned() -> None:
    def handler(record: eos.Record) -> eos.Send:
        if record.attempt == 1:
            raise ValueError("no")
        return eos.Send(record.value)

    clock = Clock()
    with run(app_of(handler, backoff="10s"), clock=clock) as t:
        t.send("in", "a")
        assert t.values("out") == []
        assert t.settled is False
        clock.advance("9s")
        assert t.values("out") == []
        clock.advance("10s")  # there is jitter, at most half of the back-off
        assert t.values("out") == [b"a"]
        assert bool(t.settled) is True
        assert [record.attempt for record in t.handled] == [1, 2]


def test_a_copy_is_recognised_within_the_window_and_not_long_after() -> None:
    with run(app_of(window="24h")) as t:
        t.send("in", "a", id="1")
        t.clock.advance("23h")
        t.send("in", "a", id="1")
        assert t.values("out") == [b"a"]
        t.clock.advance("26h")
        t.send("in", "a", id="1")
        assert t.values("out") == [b"a", b"a"]


def test_records_carry_the_time_of_the_clock() -> None:
    clock = Clock(1_000_000)
    with run(app_of(), clock=clock) as t:
        t.send("in", "a")
        clock.advance(5)
        t.send("in", "b")
        t.send("in", "c", timestamp=1_000_001)
        stamps = [record.timestamp for record in t.handled]
        assert stamps == [1_000_000_000, 1_000_005_000, 1_000_001_000]


def test_a_clock_is_never_turned_back() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="only goes forward"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="is not a duration"):
        clock.advance("a while")


def test_the_clock_is_not_watched_any_more_once_the_run_is_over() -> None:
    clock = Clock()
    with run(app_of(), clock=clock) as t:
        t.send("in", "a")
    clock.advance("1h")
    assert t.events == []


def test_a_topic_that_the_app_does_not_read_is_refused() -> None:
    with run(app_of()) as t, pytest.raises(LookupError, match=r"no step reads 'int'.* reads in"):
        t.send("int", "a")


def test_a_topic_that_nobody_names_is_not_simply_empty() -> None:
    with run(app_of(), partitions={"audit": 1}) as t:
        t.send("in", "a")
        assert t.sent("audit") == []
        with pytest.raises(LookupError, match=r"g\.dead-letters, g\.suppressed, in, out"):
            t.sent("otu")


def test_a_topic_that_a_handler_names_is_made_when_something_is_sent_there() -> None:
    with run(app_of(lambda record: eos.Send(record.value, topic="elsewhere"))) as t:
        t.send("in", "a")
        assert t.values("elsewhere") == [b"a"]


def test_what_stops_the_app_is_raised_where_the_result_is_asked_for() -> None:
    def handler(record: eos.Record) -> eos.Send:
        if record.value == b"poison":
            raise FatalError("stop")
        return eos.Send(record.value)

    with run(app_of(handler)) as t:
        t.send("in", "a")
        t.run()
        t.send("in", "poison")
        with pytest.raises(FatalError, match="stop"):
            t.run()
        with pytest.raises(FatalError, match="stop"):  # the next worker meets it as well
            t.sent("out")


def test_a_line_that_never_settles_is_said_to_be_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(_: eos.Record) -> None:
        raise ValueError("no")

    monkeypatch.setattr("eos.testing.stage._TURNS", 500)
    with run(app_of(handler, retries=10**9)) as t:
        t.send("in", "a")
        with pytest.raises(StuckError, match=r"not settled after 500 turns(.|\n)*ValueError: no"):
            t.run()


def test_a_handler_may_ask_what_was_sent_so_far() -> None:
    seen: list[Any] = []

    def handler(record: eos.Record) -> eos.Send:
        seen.append(t.values("out"))
        return eos.Send(record.value)

    with run(app_of(handler)) as t:
        t.send("in", "a")
        t.run()
        t.send("in", "b")
        t.run()
    assert seen == [[], [b"a"]]


def test_it_is_the_apps_own_settings_that_count() -> None:
    with run(app_of(missing_key="dead_letter", namespace="shop")) as t:
        t.send("in", "a", id="")
        assert t.values("out") == []
        assert [letter.reason for letter in t.dead_letters] == ["missing_key"]
        assert t.dead_letters[0].topic == "shop.dead-letters"


def test_a_thousand_records_take_no_more_threads_than_the_tests_own() -> None:
    before = set(threading.enumerate())
    seen: set[threading.Thread] = set()

    def handler(record: eos.Record) -> eos.Send:
        seen.add(threading.current_thread())
        return eos.Send(record.value)

    with run(app_of(handler, commit_interval="1h")) as t:
        for n in range(1000):
            t.send("in", str(n))
        assert len(t.values("out")) == 1000
        assert set(threading.enumerate()) <= before
    assert seen == {threading.current_thread()}
