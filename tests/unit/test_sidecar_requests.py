"""The requests that hand records to an app."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos.core.record import Headers, Record
from eos.doors.sidecar.deliver.answers import Answer
from eos.doors.sidecar.deliver.requests import batch_of, quoted, request_of, sends_of, unquoted

CE: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1"),
    ("ce_source", b"/a"),
    ("ce_type", b"t"),
    ("content-type", b"text/plain"),
]


def record(headers: Headers, value: bytes | None = b"v") -> Record:
    made = Record("in", "id", 2, 7, b"k", value, headers, 1_700_000_000_000, 3)
    made.idempotency_key = "key"
    return made


@given(st.text())
def test_a_key_comes_through_a_header(key: str) -> None:
    key = key.encode("utf-8", "surrogateescape" if key.isprintable() else "replace").decode(
        "utf-8", "surrogateescape"
    )
    header = quoted(key)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert unquoted(header) == key


@pytest.mark.parametrize("mode", ["binary", "structured", "plain"])
def test_a_cloudevent_is_handed_over_as_the_mode_says(mode: str) -> None:
    headers, body = request_of(mode, record(CE))
    told = dict(headers)
    want = {
        "binary": ("1", "text/plain", b"v"),
        "structured": (None, "application/cloudevents+json", None),
        "plain": (None, "text/plain", b"v"),
    }[mode]
    assert (told.get("ce-id"), told["content-type"]) == want[:2]
    if want[2] is not None:
        assert body == want[2]
    else:
        assert json.loads(body)["data"] == "v"
    assert told["idempotency-key"] == '"key"'
    assert told["eos-position"] == "id/2/7"
    assert told["eos-fencing-token"] == "3"


def test_what_is_no_event_becomes_one_where_the_mode_wants_one() -> None:
    _, body = request_of("structured", record([("content-type", b"application/json")], b'{"a":1}'))
    event = json.loads(body)
    assert (event["id"], event["source"], event["type"]) == ("id/2/7", "/in", "eos.record")
    assert (event["data"], event["time"]) == ({"a": 1}, "2023-11-14T22:13:20+00:00")


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_what_says_wrongly_that_it_is_an_event_comes_as_it_is(mode: str) -> None:
    headers, body = request_of(mode, record([("ce_specversion", b"1.0")], b"v"))
    assert "ce-specversion" not in dict(headers)
    assert b"v" in body or b"dg==" in body


@pytest.mark.parametrize("mode", ["binary", "structured", "plain"])
def test_a_tombstone_has_no_body(mode: str) -> None:
    _, body = request_of(mode, record([], None))
    assert body == b"" or "data" not in json.loads(body)


def test_each_event_of_a_batch_says_what_headers_say_of_one() -> None:
    headers, body = batch_of([record(CE), record([])])
    first, second = json.loads(body)
    assert dict(headers)["content-type"] == "application/cloudevents-batch+json"
    assert (first["id"], first["idempotencykey"], first["eosposition"]) == ("1", "key", "id/2/7")
    assert (second["eosattempt"], second["eosindoubt"], second["eoskey"]) == ("1", "false", "k")


@given(
    st.sampled_from(["binary", "structured", "plain"]),
    st.lists(
        st.tuples(
            st.sampled_from([name for name, _ in CE] + ["traceparent", "ce_x", "ce_"]),
            st.sampled_from([b"1.0", b"1.1", b"2.0", b"", b"\xff", b"a/b", b"a;b", b"\r\n"])
            | st.just(b"application/cloudevents+json")
            | st.binary(max_size=10),
        ),
        max_size=8,
    ),
    st.none() | st.binary(max_size=20),
)
def test_there_is_a_request_for_whatever_stands_in_a_topic(
    mode: str, headers: Headers, value: bytes | None
) -> None:
    told, _ = request_of(mode, record(headers, value))
    batch_of([record(headers, value), record(CE)])
    for name, text in told:
        assert (name + text).isascii()
        assert (name + text).isprintable()


def test_data_that_are_an_event_themselves_come_in_one() -> None:
    inner = [*CE[:-1], ("content-type", b"application/cloudevents+json; x=y")]
    headers, body = request_of("binary", record([("ce_x", b"y"), *inner], b'{"id": "inner"}'))
    assert dict(headers)["content-type"].startswith("application/")
    assert b"inner" in body


def test_an_answer_without_a_body_is_no_tombstone() -> None:
    told = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "t"}
    (send,) = sends_of(Answer(200, told, b""))
    assert send.value == b""


def test_an_answer_without_events_has_nothing_published() -> None:
    assert sends_of(Answer(200, {"content-type": "application/json"}, b'{"id": 1}')) == []
    assert sends_of(Answer(200, {}, b"")) == []


def test_a_batch_for_an_answer_has_each_of_its_events_published() -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "partitionkey": "p"}
    body = json.dumps([event, {**event, "id": "2"}]).encode()
    sends = sends_of(Answer(200, {"content-type": "application/cloudevents-batch+json"}, body))
    assert [dict(send.headers)["ce_id"] for send in sends] == [b"1", b"2"]
    assert {send.key for send in sends} == {b"p"}
