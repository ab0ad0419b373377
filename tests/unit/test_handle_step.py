from collections.abc import Iterator
from typing import Any

import pytest

from eos.core.errors import AbortableError, FatalError, HandlerError
from eos.core.events import Retried
from eos.core.keys import MessageIds
from eos.core.record import Record, Send
from tests.unit.handling import MAX_BYTES, Bench, fails_on, record, told


def test_a_send_goes_to_the_step_s_topic_under_the_record_s_key() -> None:
    (output,) = Bench(lambda r: Send(r.value)).run(b"v")
    assert (output.topic, output.value, output.key) == ("out", b"v", b"k")


def test_a_send_may_name_its_own_topic_key_and_message_id() -> None:
    send = Send("v", topic="other", key="mine", headers={"message-id": "m", "h": "1"})
    (output,) = Bench(lambda _: send).run(b"v")
    assert (output.topic, output.key) == ("other", b"mine")
    assert output.headers == [("message-id", b"m"), ("h", b"1")]


def test_what_is_sent_has_an_id_that_is_derived_from_what_was_handled() -> None:
    outputs = Bench(lambda _: [Send("1"), Send("2", headers={"h": "x"})]).run(b"v")
    ids = MessageIds("ns", "step")
    assert told(outputs[0])["message-id"].encode() == ids("key-0", 0)
    assert told(outputs[1])["message-id"].encode() == ids("key-0", 1)


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_a_handler_may_send_nothing(nothing: Any) -> None:
    assert Bench(lambda _: nothing).run(b"v") == []


def test_a_handler_may_be_a_generator() -> None:
    def handler(each: Record) -> Iterator[Send]:
        yield Send(each.value)
        yield Send("twin")

    assert [o.value for o in Bench(handler).run(b"a", b"b")] == [b"a", b"twin", b"b", b"twin"]


def test_a_failure_is_tried_again_after_pauses_that_grow_and_then_is_a_dead_letter() -> None:
    bench = Bench(fails_on(b"poison"))
    outputs = bench.run(b"a", b"poison", b"b")
    assert [o.topic for o in outputs] == ["out", "ns.dead-letters", "out"]
    assert [o.value for o in outputs] == [b"a", b"poison", b"b"]
    assert [e.attempt for e in bench.events if isinstance(e, Retried)] == [1, 2]
    assert [(held.offset, held.attempts) for held in bench.held] == [(1, 1), (1, 2)]
    assert bench.held[0].seconds < bench.held[1].seconds


def test_a_dead_letter_says_what_why_and_where() -> None:
    bench = Bench(fails_on(b"poison"))
    (letter,) = bench.run(b"poison")
    headers = told(letter)
    assert headers["eos-reason"] == "handler_failed"
    assert headers["eos-attempts"] == "3"
    assert headers["eos-topic"] == "in"
    assert headers["eos-position"] == "id/0/0"
    assert headers["eos-idempotency-key"] == "key-0"
    assert headers["eos-timestamp"] == "1000"
    assert headers["eos-error"] == "ValueError: no"
    assert len(headers["eos-traceback-digest"]) == 16
    assert letter.key == b"k"


def test_failures_of_one_kind_have_one_digest_whatever_they_say() -> None:
    def handler(each: Record) -> None:
        if each.value == b"other":
            raise TypeError("elsewhere")
        raise ValueError(f"no {each.offset}")

    letters = Bench(handler).run(b"a", b"b", b"other")
    first, second, other = (told(letter)["eos-traceback-digest"] for letter in letters)
    assert first == second != other


def test_a_handler_that_succeeds_on_a_retry_leaves_no_letter() -> None:
    bench = Bench(lambda r: Send(b"%d" % r.attempt) if r.attempt > 2 else 1 / 0)
    assert [o.value for o in bench.run(b"v")] == [b"3"]
    assert bench.letters() == []


def test_no_part_of_a_failed_attempt_is_sent() -> None:
    def handler(each: Record) -> Iterator[Send]:
        yield Send("half")
        if each.attempt == 1:
            raise ValueError("no")

    assert [o.value for o in Bench(handler).run(b"v")] == [b"half"]


RUBBISH: list[Any] = ["text", b"bytes", {"a": 1}, [Send("good"), "bad"], [None], [[Send("x")]]]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=repr)
def test_what_cannot_be_sent_is_a_dead_letter_at_once(rubbish: Any) -> None:
    bench = Bench(lambda _: rubbish)
    outputs = bench.run(b"v")
    assert [o.topic for o in outputs] == ["ns.dead-letters"]
    assert bench.letters() == ["unsendable"]
    assert bench.held == []


def test_what_is_not_even_iterable_is_a_dead_letter() -> None:
    assert [o.topic for o in Bench(lambda _: 7).run(b"v")] == ["ns.dead-letters"]


def test_a_send_without_any_topic_is_a_dead_letter() -> None:
    bench = Bench(lambda _: Send("v"), to=None)
    bench.run(b"v")
    assert bench.letters() == ["unsendable"]


@pytest.mark.parametrize(
    "large",
    [
        {"value": b"x" * MAX_BYTES},
        {"value": b"x" * (MAX_BYTES - 100)},
        {"value": b"", "key": b"x" * MAX_BYTES},
        {"value": b"", "headers": {"h": b"x" * MAX_BYTES}},
    ],
    ids=["value", "value and overhead", "key", "headers"],
)
def test_a_message_that_is_too_large_is_a_dead_letter(large: dict[str, Any]) -> None:
    bench = Bench(lambda _: Send(**large))
    (letter,) = bench.run(b"v")
    assert letter.topic == "ns.dead-letters"
    assert bench.letters() == ["unsendable"]


def test_a_letter_that_is_too_large_leaves_its_payload_behind() -> None:
    (letter,) = Bench(fails_on(b"x" * MAX_BYTES)).run(b"x" * MAX_BYTES)
    assert (letter.key, letter.value) == (None, None)
    assert told(letter)["eos-payload-omitted"] == str(MAX_BYTES)
    assert told(letter)["eos-position"] == "id/0/0"


def test_a_letter_keeps_the_headers_of_its_record_and_survives_null_ones() -> None:
    bench = Bench(lambda _: None)
    rejected = record(0, b"v", [("trace", b"t"), ("nothing", None)])
    (letter,) = bench.run(rejected=((rejected, "conflict"),))
    assert ("trace", b"t") in letter.headers
    assert bench.letters() == ["conflict"]


class Unspeakable(Exception):  # noqa: N818 it is no ordinary error
    def __str__(self) -> str:
        raise RuntimeError("unspeakable")


@pytest.mark.parametrize(
    "error",
    [Unspeakable(), ValueError("\ud800"), ValueError("x" * 10_000), AbortableError("a", "b")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_handler_raises_can_be_told(error: Exception) -> None:
    def handler(_record: Record) -> None:
        raise error

    bench = Bench(handler)
    bench.run(b"v")
    assert bench.letters() == ["handler_failed"]


def test_a_handler_can_refuse_a_record_for_good() -> None:
    def handler(_record: Record) -> None:
        raise HandlerError("never")

    bench = Bench(handler)
    bench.run(b"v")
    assert bench.letters() == ["unsendable"]
    assert bench.held == []


@pytest.mark.parametrize("batch", [False, True])
def test_a_handler_can_stop_the_line(*, batch: bool) -> None:
    def handler(_given: Any) -> None:
        raise FatalError("stop")

    with pytest.raises(FatalError, match="stop"):
        Bench(handler, batch=batch).run(b"v")
