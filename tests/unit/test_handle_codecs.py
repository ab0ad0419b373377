"""`decode` and `encode` of a step."""

import json
from typing import Any

import pytest

from eos.core.errors import FatalError, RetriableError
from eos.core.record import Record, Send
from tests.unit.handling import Bench, told


def double(each: Record) -> Send:
    """Send the doubled number."""
    value: Any = each.value
    return Send({"n": 2 * value["n"]})


def doubled(records: list[Record]) -> list[Send]:
    """Send the doubled numbers."""
    return [double(each) for each in records]


JSON: dict[str, Any] = {"decode": json.loads, "encode": json.dumps}


def test_a_handler_gets_and_sends_values() -> None:
    assert [o.value for o in Bench(double, **JSON).run(b'{"n": 4}')] == [b'{"n": 8}']


def test_tombstones_are_neither_decoded_nor_encoded() -> None:
    bench = Bench(lambda r: Send(r.value), **JSON)
    nothing: Any = None
    assert [o.value for o in bench.run(nothing)] == [None]
    assert bench.letters() == []


@pytest.mark.parametrize("batch", [False, True])
def test_what_cannot_be_decoded_is_a_dead_letter_as_it_came_and_nobody_else_is_harmed(
    *, batch: bool
) -> None:
    calls = []

    def handler(given: Any) -> Any:
        calls.append(given)
        return doubled(given) if batch else double(given)

    bench = Bench(handler, batch=batch, **JSON)
    outputs = bench.run(b'{"n": 1}', b"{broken", b'{"n": 3}')
    assert [o.value for o in outputs if o.topic == "out"] == [b'{"n": 2}', b'{"n": 6}']
    (letter,) = [o for o in outputs if o.topic == "ns.dead-letters"]
    assert letter.value == b"{broken"
    headers = told(letter)
    assert (headers["eos-reason"], headers["eos-attempts"]) == ("undecodable", "0")
    assert headers["eos-error"].startswith("JSONDecodeError")
    assert headers["eos-idempotency-key"] == "key-1"
    assert (bench.letters(), bench.held) == (["undecodable"], [])
    assert len(calls) == (1 if batch else 2)


def test_a_batch_of_which_nothing_can_be_decoded_calls_nobody() -> None:
    bench = Bench(lambda _: pytest.fail("called"), batch=True, **JSON)
    bench.run(b"{", b"[")
    assert bench.letters() == ["undecodable"] * 2


@pytest.mark.parametrize("batch", [False, True])
def test_what_cannot_be_decoded_behind_a_record_that_failed_waits_for_its_turn(
    *, batch: bool
) -> None:
    def handler(_given: Any) -> None:
        raise ValueError("no")

    handled = Bench(handler, batch=batch, **JSON).once(b"{", b"{}", b"[")
    assert [letter.reason for letter in handled.letters] == ["undecodable"]
    assert handled.slice.end == 1


@pytest.mark.parametrize("batch", [False, True])
def test_a_value_that_was_decoded_goes_to_the_dead_letters_as_it_came(*, batch: bool) -> None:
    def handler(_given: Any) -> None:
        raise ValueError("no")

    bench = Bench(handler, batch=batch, retry_on=(), **JSON)
    assert [o.value for o in bench.run(b'{ "n":1}')] == [b'{ "n":1}']


@pytest.mark.parametrize("batch", [False, True])
def test_a_decoder_can_wait_for_what_it_needs(*, batch: bool) -> None:
    def decode(raw: bytes) -> Any:
        if raw == b"{}":
            raise RetriableError("no schema registry")
        return json.loads(raw)

    handler: Any = doubled if batch else double
    bench = Bench(handler, batch=batch, decode=decode, encode=json.dumps)
    handled = bench.once(b'{"n": 1}', b"{}", b'{"n": 3}')
    assert [o.value for o in handled.outputs] == [b'{"n": 2}']
    assert (handled.slice.end, [held.offset for held in bench.held]) == (1, [1])


def test_a_decoder_can_stop_the_line() -> None:
    def decode(_raw: bytes) -> None:
        raise FatalError("the wrong schema")

    with pytest.raises(FatalError, match="the wrong schema"):
        Bench(lambda _: None, decode=decode).run(b"{}")


@pytest.mark.parametrize(
    "encode", [json.dumps, lambda _: 5, lambda _: "\ud800"], ids=["raises", "number", "surrogate"]
)
def test_what_cannot_be_encoded_is_a_dead_letter_at_once(encode: Any) -> None:
    bench = Bench(lambda _: Send({1, 2}), encode=encode)
    (letter,) = bench.run(b"v")
    assert letter.value == b"v"
    assert (bench.letters(), bench.held) == (["unsendable"], [])


def test_an_encoder_can_wait_for_what_it_needs() -> None:
    def encode(_value: Any) -> bytes:
        raise RetriableError("no schema registry")

    bench = Bench(lambda _: Send(1), encode=encode)
    bench.once(b"v")
    assert (bench.letters(), len(bench.held)) == ([], 1)


def test_an_encoder_may_make_a_tombstone() -> None:
    assert [o.value for o in Bench(lambda _: Send(1), encode=lambda _: None).run(b"v")] == [None]


@pytest.mark.parametrize("value", [5, {"a": 1}, ["a"], bytearray(b"v"), "\ud800"], ids=repr)
def test_without_an_encoder_only_bytes_and_text_can_be_sent(value: Any) -> None:
    bench = Bench(lambda _: Send(value))
    (letter,) = bench.run(b"v")
    assert "of a Send" in told(letter)["eos-error"]
    assert bench.letters() == ["unsendable"]
