"""What says that it is a CloudEvent and is none is refused, and never with another exception."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos.core.cloudevents import (
    Event,
    MalformedEventError,
    Mode,
    batch_to_http,
    of_http,
    of_record,
    to_http,
    to_record,
)

EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed"}
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
OPEN = json.dumps(EVENT)[:-1].encode()


def body_of(**members: Any) -> bytes:
    return json.dumps(EVENT | members).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in EVENT.items() if key != name}).encode()


BODIES = [
    (b"", "JSON object"),
    (b"[]", "JSON object"),
    (b"null", "JSON object"),
    (b"{", "name is missing"),
    (b"{1: 2}", "name is missing"),
    (b'{"id" "1"}', "':' is missing"),
    (b'{"id": "1" "type": "t"}', "',' is missing"),
    (b'{"id": "1",}', "name is missing"),
    (b'{"id": tru}', "no JSON"),
    (body_of() + b"x", "extra data"),
    (b"\xff" + body_of(), "no UTF-8"),
    (b"\xef\xbb\xbf" + body_of(), "JSON object"),
    (OPEN + b', "id": "2"}', "there twice"),
    (OPEN + b', "\\u0069d": "2"}', "there twice"),
    (OPEN + b', "data": NaN}', "NaN"),
    (OPEN + b', "data": [-Infinity]}', "Infinity"),
    (OPEN + b', "x": ' + b"[" * 100_000, "too deeply"),
    (OPEN + b', "x": ' + b"9" * 5000 + b"}", "32 bits"),
    (OPEN + b', "x": 2147483648}', "32 bits"),
    (OPEN + b', "x": 1.0}', "32 bits"),
    (OPEN + b', "x": 1e2}', "32 bits"),
    (OPEN + b', "x": {}}', "32 bits"),
    (OPEN + b', "x": "\\ud800"}', "not allowed"),
    (OPEN + b', "x": "\\u0000"}', "not allowed"),
    (OPEN + b', "x": "a\\r\\nb"}', "not allowed"),
    (OPEN + b', "x": "\\uffff"}', "not allowed"),
    (OPEN + b', "my_x": "1"}', "attribute's name"),
    (OPEN + b', "X": "1"}', "attribute's name"),
    (OPEN + b', "": "1"}', "attribute's name"),
    (OPEN + b', "\\ud800": "1"}', "attribute's name"),
    (body_of(data=1, data_base64="YQ=="), "both"),
    (body_of(data_base64="YQ"), "base64"),
    (body_of(data_base64="ü"), "base64"),
    (body_of(data_base64=5), "base64"),
    (body_of(data={}, datacontenttype="text/plain"), "not JSON"),
    (body_of(data=5, datacontenttype="text/plain"), "not JSON"),
    (body_of(data="ü", datacontenttype="text/plain; charset=us-ascii"), "ascii"),
    (body_of(data="\ud800", datacontenttype="text/plain"), "utf-8"),
    (body_of(data="a", datacontenttype="text/plain; charset=rot13"), "charset"),
    (body_of(datacontenttype="json"), "media type"),
    (body_of(datacontenttype="text/plain\u00e9"), "media type"),
    (body_of(specversion="0.3"), "1.0"),
    (body_of(specversion="2.0"), "1.0"),
    (body_of(specversion="1"), "1.0"),
    (body_of(specversion=1.0), "no string"),
    (body_of(id=5), "no string"),
    (body_of(id=None), "no 'id'"),
    (body_of(subject=True), "no string"),
    (body_of(subject=""), "empty"),
    *((body_of(**{name: ""}), "empty") for name in EVENT),
    *((without(name), f"no '{name}'") for name in EVENT),
]


@pytest.mark.parametrize(("body", "said"), BODIES, ids=lambda given: str(given)[-40:])
def test_a_structured_event_that_is_none_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(MalformedEventError, match=said):
        of_record([("content-type", STRUCTURED.encode())], body)
    with pytest.raises(MalformedEventError, match=said):
        of_http([("content-type", STRUCTURED)], body)
    if body.startswith(b"{") and said not in ("extra data", "too deeply"):
        with pytest.raises(MalformedEventError, match=said):
            of_http([("content-type", BATCH)], b"[" + body_of() + b"," + body + b"]")


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (BATCH, b"{}", "JSON array"),
        (BATCH, b"[1]", "JSON object"),
        (BATCH, b"[" + body_of() + b"," + body_of(specversion="1.1") + b"]", "different"),
        (BATCH, b"[" + body_of(), "missing"),
        ("application/cloudevents+avro", b"x", r"send \+json"),
        ("application/cloudevents", body_of(), r"send \+json"),
        ("application/cloudevents-batch", b"[]", r"send \+json"),
        (f"{STRUCTURED}; charset=utf-16", body_of(), "charset"),
    ],
)
def test_a_body_of_events_that_are_none_is_refused(kind: str, body: bytes, said: str) -> None:
    with pytest.raises(MalformedEventError, match=said):
        of_http([("content-type", kind)], body)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ([("ce_id", b"2")], "there twice"),
        ([("ce_x", b"\xff")], "no UTF-8"),
        ([("ce_x", b"a\nb")], "not allowed"),
        ([("ce_X", b"a")], "attribute's name"),
        ([("ce_", b"a")], "attribute's name"),
        ([("ce_data", b"a")], "attribute's name"),
        ([("ce_datacontenttype", b"text/plain")], "use 'content-type'"),
        ([("content-type", b"\xff")], "no UTF-8"),
        ([("content-type", b"a/b"), ("Content-Type", b"a/b")], "there twice"),
        ([("content-type", BATCH.encode())], "not a batch"),
    ],
)
def test_a_record_with_headers_of_no_event_is_refused(
    added: list[tuple[str, bytes]], said: str
) -> None:
    headers = [(f"ce_{name}", value.encode()) for name, value in EVENT.items()]
    with pytest.raises(MalformedEventError, match=said):
        of_record(headers + added, b"x")


def test_a_structured_event_with_two_content_types_is_refused() -> None:
    kind = ("content-type", STRUCTURED)
    with pytest.raises(MalformedEventError, match="there twice"):
        of_http([kind, kind], body_of())
    with pytest.raises(MalformedEventError, match="there twice"):
        of_record([("content-type", kind[1].encode())] * 2, body_of())


def test_a_record_that_lacks_a_required_header_or_its_value_is_refused() -> None:
    with pytest.raises(MalformedEventError, match="no 'id'"):
        of_record([("ce_specversion", b"1.0")], b"x")
    with pytest.raises(MalformedEventError, match="no 'id'"):
        of_record([("ce_specversion", b"1.0"), ("ce_id", None)], b"x")
    with pytest.raises(MalformedEventError, match="without a value"):
        of_record([("content-type", STRUCTURED.encode())], None)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ([("Ce-Id", "2")], "there twice"),
        ([("ce-x", "%C0%A0")], "no UTF-8"),
        ([("ce-x", "%ED%A0%80")], "no UTF-8"),
        ([("ce-x", "Ã¼")], "percent-encode"),
        ([("ce-x", "a%0D%0Ab")], "not allowed"),
        ([("ce-x", "%00")], "not allowed"),
        ([("ce-x-y", "a")], "attribute's name"),
        ([("ce-datacontenttype", "text/plain")], "use 'content-type'"),
        ([("content-type", "")], "empty"),
        ([("content-type", "a/b"), ("Content-Type", "a/b")], "there twice"),
    ],
)
def test_a_request_with_headers_of_no_event_is_refused(
    added: list[tuple[str, str]], said: str
) -> None:
    headers = [(f"ce-{name}", value) for name, value in EVENT.items()]
    with pytest.raises(MalformedEventError, match=said):
        of_http(headers + added, b"x")


@pytest.mark.parametrize("name", EVENT)
def test_a_request_that_lacks_one_required_header_is_refused(name: str) -> None:
    headers = [(f"ce-{given}", value) for given, value in EVENT.items() if given != name]
    with pytest.raises(MalformedEventError, match=f"no '{name}'"):
        of_http(headers, b"x")


@pytest.mark.parametrize(
    "changed",
    [
        {"id": ""},
        {"x": "a\r\nb: c"},
        {"a\r\nb": "c"},
        {"specversion": "2.0"},
        {"subject": "\ud800"},
    ],
    ids=repr,
)
def test_an_event_that_is_none_is_never_sent(changed: dict[str, str]) -> None:
    event = Event(EVENT | changed, b"x")
    for mode in Mode:
        with pytest.raises(MalformedEventError):
            to_http(event, mode)
    with pytest.raises(MalformedEventError):
        to_record(event)
    with pytest.raises(MalformedEventError):
        batch_to_http([event])


def test_a_message_never_shows_what_an_attribute_holds() -> None:
    with pytest.raises(MalformedEventError) as refused:
        of_record([("ce_specversion", b"1.0"), ("ce_id", b"secret\n")], b"x")
    assert "secret" not in str(refused.value)


# Pieces that lead a random body past the first check.
PIECES = st.sampled_from(
    [OPEN, b"{", b"}", b"[", b"]", b",", b":", b'"data"', b'"data_base64"', b'"x"', b"1", b"NaN"]
)
BYTES = st.binary() | st.lists(PIECES | st.binary(max_size=3)).map(b"".join)
NAMES = st.sampled_from(["ce_id", "ce_specversion", "ce-id", "ce-x", "content-type"]) | st.text()
TYPES = st.sampled_from([STRUCTURED, BATCH, "text/plain", f"{STRUCTURED};charset=x"])
EVENTS = st.builds(
    Event,
    st.dictionaries(st.text(), st.text()).map(lambda more: EVENT | more),
    st.none() | st.binary(),
)


@given(st.lists(st.tuples(NAMES, st.none() | BYTES)), TYPES, st.none() | BYTES)
def test_no_record_raises_anything_else(
    headers: list[tuple[str, bytes | None]], kind: str, value: bytes | None
) -> None:
    with contextlib.suppress(MalformedEventError):
        of_record([("content-type", kind.encode()), *headers], value)
    with contextlib.suppress(MalformedEventError):
        of_record(
            [*headers, *((f"ce_{name}", text.encode()) for name, text in EVENT.items())], value
        )


@given(st.lists(st.tuples(NAMES, st.text())), TYPES, BYTES)
def test_no_request_raises_anything_else(
    headers: list[tuple[str, str]], kind: str, body: bytes
) -> None:
    with contextlib.suppress(MalformedEventError):
        of_http([("content-type", kind), *headers], body)
    with contextlib.suppress(MalformedEventError):
        of_http([*headers, *((f"ce-{name}", text) for name, text in EVENT.items())], body)


@given(EVENTS)
def test_no_event_that_is_sent_raises_anything_else(event: Event) -> None:
    for mode in Mode:
        with contextlib.suppress(MalformedEventError):
            to_http(event, mode)
    with contextlib.suppress(MalformedEventError):
        to_record(event)
    with contextlib.suppress(MalformedEventError):
        batch_to_http([event])
