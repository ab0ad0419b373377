"""What a call asks to have published."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eos.core.errors import HandlerError
from eos.core.record import Record, Send
from eos.doors.sidecar.publish.asking import (
    MOST_EVENTS,
    MOST_KEY,
    MalformedCallError,
    asked,
    key_of,
)
from eos.doors.sidecar.publish.envelope import fits, sends_of, written

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "ordered"}
STRUCTURED = ("content-type", "application/cloudevents+json")
BATCHED = ("content-type", "application/cloudevents-batch+json")
KEY = ("idempotency-key", '"k"')


def refused(*headers: tuple[str, str], body: bytes = b"") -> tuple[int, str]:
    with pytest.raises(MalformedCallError) as caught:
        asked("", headers, body)
    return caught.value.status, str(caught.value)


def record(value: bytes | None, **headers: str) -> Record:
    pairs = [(name, text.encode()) for name, text in headers.items()]
    return Record("requests", "id", 0, 0, None, value, pairs, 0)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"order-7"', "order-7"),
        ("order-7", "order-7"),
        ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"' + "x" * MOST_KEY + '"', "x" * MOST_KEY),
    ],
)
def test_a_key_is_a_string_in_quotes_or_a_word(text: str, key: str) -> None:
    assert key_of(text) == key


@pytest.mark.parametrize(
    "text", ["", '""', '"a', 'a"', "a b", '"a";p=1', '"a", "b"', "ü", '"\\a"', "x" * 256]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedCallError, match="Idempotency-Key"):
        key_of(text)


def test_a_plain_body_is_published_as_it_came() -> None:
    call = asked("shop", [KEY, ("content-type", "text/plain"), ("eos-key", "c%2F1")], b"one\r\ntwo")
    (send,) = call.sends
    assert (call.key, send.value, send.key) == (b"shop/key/k", b"one\r\ntwo", b"c/1")
    assert send.headers == [("content-type", b"text/plain")]


def test_an_event_is_published_in_binary_mode_whatever_it_came_in() -> None:
    attributes = {**EVENT, "partitionkey": "c1", "datacontenttype": "application/json"}
    binary = [(f"ce-{name}", value) for name, value in attributes.items()]
    binary = [("content-type", v) if n == "ce-datacontenttype" else (n, v) for n, v in binary]
    body = json.dumps({**attributes, "data": {"n": 1}}).encode()
    found = [asked("", binary, b'{"n":1}'), asked("", [STRUCTURED], body)]
    for call in found:
        (send,) = call.sends
        assert (json.loads(send.value), send.key) == ({"n": 1}, b"c1")
        assert dict(send.headers)["ce_id"] == b"7"
        assert call.key == b"/event//shop\x007"


def test_a_batch_is_several_messages_under_one_key() -> None:
    body = json.dumps([{**EVENT, "id": str(n), "data": n} for n in range(3)]).encode()
    call = asked("", [BATCHED, KEY], body)
    assert [dict(send.headers)["ce_id"] for send in call.sends] == [b"0", b"1", b"2"]
    assert len(set(call.ids("ns"))) == 3


def test_an_event_without_data_is_no_tombstone() -> None:
    (send,) = asked("", [STRUCTURED], json.dumps(EVENT).encode()).sends
    assert send.value == b""


def test_what_cannot_be_done_says_why() -> None:
    assert refused(body=b"x") == (
        400,
        "a plain body needs the header Idempotency-Key: one for each call",
    )
    assert refused(BATCHED, KEY, body=b"[]")[0] == 400
    assert refused(BATCHED, body=json.dumps([EVENT, EVENT]).encode())[0] == 400
    assert refused(STRUCTURED, body=b"{nonsense")[0] == 400
    without = {name: value for name, value in EVENT.items() if name != "id"}
    assert "'id'" in refused(STRUCTURED, body=json.dumps(without).encode())[1]
    assert refused(KEY, KEY, body=b"x") == (400, "the header 'idempotency-key' is there twice")
    many = json.dumps([EVENT] * (MOST_EVENTS + 1)).encode()
    assert refused(BATCHED, KEY, body=many)[0] == 413


def test_a_trace_goes_along_and_is_no_part_of_what_is_compared() -> None:
    calls = [asked("", [KEY, ("traceparent", f"00-{n}")], b"x") for n in (1, 2)]
    values = [written("out", call.sends) for call in calls]
    assert values[0] == values[1]
    (send,) = sends_of(record(values[0], traceparent="00-1"))
    assert send.headers == [("traceparent", b"00-1")]
    odd = asked("", [KEY, ("traceparent", "\xff"), ("tracestate", "a"), ("tracestate", "b")], b"x")
    assert odd.traces == [("tracestate", b"a")]


sends = st.lists(
    st.builds(
        Send,
        st.binary(max_size=50),
        st.none(),
        st.none() | st.binary(max_size=9),
        st.lists(st.tuples(st.text("abc", max_size=3), st.binary(max_size=9)), max_size=3),
    ),
    max_size=4,
)


@given(sends)
def test_what_is_written_is_read(given_: list[Send]) -> None:
    found = sends_of(record(written("out", given_)))
    assert [(s.topic, s.value, s.key, s.headers) for s in found] == [
        ("out", s.value, s.key, sorted(s.headers)) for s in given_
    ]


@given(sends, st.integers(min_value=1))
@example([], -1)
def test_what_is_cut_short_is_no_request(given_: list[Send], at: int) -> None:
    value = written("out", given_)
    with pytest.raises(HandlerError):
        sends_of(record(value[: at % len(value)]))


@pytest.mark.parametrize("value", [None, b"", b"{}\n", b"[]\n", b'{"topic":1,"messages":[{}]}\n'])
def test_what_somebody_else_wrote_is_no_request(value: bytes | None) -> None:
    with pytest.raises(HandlerError, match="no request of ours"):
        sends_of(record(value))


def test_what_is_as_large_as_the_brokers_take_does_not_fit() -> None:
    assert fits(b"x" * 100, 1, 1000)
    assert not fits(b"x" * 1000, 1, 1000)
