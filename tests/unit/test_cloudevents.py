"""CloudEvents: every form comes through as it was, and what is malformed is refused."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos.core.cloudevents import (
    BATCH,
    STRUCTURED,
    Event,
    MalformedEventError,
    Mode,
    batch_to_http,
    of_http,
    of_record,
    to_http,
    to_record,
)

TOLD = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: name not in {*TOLD, "data", "datacontenttype"}
)
content_types = st.sampled_from(
    ["application/json", "application/x+json; charset=utf-8", "text/plain", "image/png"]
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    attributes = {"specversion": "1.0", **{name: draw(texts) for name in ("id", "source", "type")}}
    attributes |= draw(st.dictionaries(names, texts, max_size=3))
    attributes["datacontenttype"] = draw(content_types)
    data = draw(st.binary(max_size=30) | st.sampled_from([b'{"a": 1.10}', b"1e400", b"[1 ,2]"]))
    return Event(attributes, data)


def json_of(**members: Any) -> bytes:
    return json.dumps({**TOLD, **members}).encode()


def structured(body: bytes) -> Event:
    found = of_http([("Content-Type", f"{STRUCTURED}; charset=utf-8")], body)
    assert found is not None
    (event,) = found
    return event


@given(events())
def test_an_event_comes_through_kafka_as_it_was(event: Event) -> None:
    assert of_record(*to_record(event)) == event


@given(events(), st.sampled_from(Mode))
def test_an_event_comes_through_http_as_it_was(event: Event, mode: Mode) -> None:
    assert of_http(*to_http(event, mode)) == [event]


@given(st.lists(events(), max_size=4))
def test_a_batch_comes_through_http_as_it_was(batch: list[Event]) -> None:
    assert of_http(*batch_to_http(batch)) == batch


@given(events())
def test_headers_of_http_are_printable_ascii(event: Event) -> None:
    for name, value in to_http(event, Mode.BINARY)[0]:
        assert (name + value).isascii()
        assert (name + value).isprintable()


@given(st.binary(max_size=60), st.sampled_from([STRUCTURED, BATCH, "text/plain"]), st.booleans())
def test_whatever_comes_is_read_or_refused(body: bytes, kind: str, marked: bool) -> None:
    headers = [("content-type", kind), *([("ce-specversion", "1.0")] if marked else [])]
    with suppress(MalformedEventError):
        of_http(headers, body)


@given(st.text(max_size=60))
def test_any_document_is_read_or_refused(text: str) -> None:
    for kind in (STRUCTURED, BATCH):
        with suppress(MalformedEventError):
            of_http([("content-type", kind)], text.encode("utf-8", "surrogatepass"))


DEEP = b"[" * 100_000
BAD = {
    "no JSON": b"{",
    "no object": b"[]",
    "nothing": b"",
    "something behind": json_of() + b"x",
    "no UTF-8": b'{"id": "\xff"}',
    "a constant that JSON has not": json_of().replace(b'"1"', b"NaN"),
    "too deep": b'{"data": ' + DEEP,
    "twice": json_of()[:-1] + b', "id": "2"}',
    "no id": json_of(id=None),
    "an empty id": json_of(id=""),
    "an id that is a list": json_of(id=[1]),
    "a fraction": json_of(more=1.5),
    "another version": json_of(specversion="0.3"),
    "a line break": json_of(subject="a\r\nb"),
    "half a pair": json_of()[:-1] + b', "subject": "\\ud800"}',
    "data of half a pair": json_of(datacontenttype="text/plain")[:-1] + b', "data": "\\ud800"}',
    "no base64": json_of(data_base64="?"),
    "base64 that is no text": json_of(data_base64=1),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_malformed_document_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedEventError):
        structured(body)
    with pytest.raises(MalformedEventError):
        of_record([("content-type", STRUCTURED.encode())], body)
    with pytest.raises(MalformedEventError):
        of_http([("content-type", BATCH)], b"[" + json_of() + b"," + body + b"]")


@pytest.mark.parametrize(
    "headers",
    [
        [("ce-specversion", "1.0")],
        [("ce-specversion", "2.0"), ("ce-id", "1"), ("ce-source", "/"), ("ce-type", "t")],
        [("ce-specversion", "1.0"), ("ce-id", "%ff"), ("ce-source", "/"), ("ce-type", "t")],
        [("ce-specversion", "1.0"), ("ce-id", "%0d%0a"), ("ce-source", "/"), ("ce-type", "t")],
        [("content-type", "application/cloudevents+xml")],
    ],
)
def test_malformed_headers_are_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedEventError):
        of_http(headers, b"")


def test_a_header_of_a_record_that_is_no_text_is_refused() -> None:
    headers = [(f"ce_{name}", value.encode()) for name, value in TOLD.items()]
    with pytest.raises(MalformedEventError):
        of_record([("ce_subject", b"\xff"), *headers], b"")


@pytest.mark.parametrize(
    ("members", "data"),
    [
        ({"data": {"a": [1, None]}}, b'{"a": [1, null]}'),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": "text"}, b'"text"'),
        ({"data": 7, "datacontenttype": "text/plain"}, b"7"),
        ({"data_base64": "AP8="}, b"\x00\xff"),
        ({"data": None}, b"null"),
        ({}, None),
    ],
)
def test_the_data_of_a_document_are_bytes(members: dict[str, Any], data: bytes | None) -> None:
    assert structured(json_of(**members)).data == data


def test_numbers_in_the_data_stay_as_they_are_written() -> None:
    written = b'{"big": 123456789012345678901234567890, "price": 1.10, "far": 1e400}'
    event = structured(json_of()[:-1] + b', "data": ' + written + b"}")
    assert event.data == written
    assert written in to_http(event, Mode.STRUCTURED)[1]


def test_attributes_that_are_no_text_get_their_canonical_one() -> None:
    event = structured(json_of(count=7, flag=True, gone=None))
    assert {**event.attributes} == {**TOLD, "count": "7", "flag": "true"}


def test_a_plain_body_is_no_event() -> None:
    assert of_http([("content-type", "application/json")], json_of()) is None
    assert of_record([("content-type", b"application/json"), ("ce_id", b"1")], b"") is None


def test_a_tombstone_may_be_an_event() -> None:
    headers = [(f"ce_{name}", value.encode()) for name, value in TOLD.items()]
    assert of_record(headers, None) == Event(TOLD, None)


def test_a_quoted_header_is_read_as_the_binding_says() -> None:
    headers = [*TOLD.items(), ("subject", '"a \\"b\\" %C3%9C"')]
    (event,) = of_http([(f"CE-{name}", value) for name, value in headers], b"") or []
    assert event.attributes["subject"] == 'a "b" Ü'
