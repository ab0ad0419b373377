"""Round trips of CloudEvents over Kafka and HTTP, and what is kept on the way."""

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
_NONCHARACTERS = [
    chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)
] + [chr(code) for code in range(0xFDD0, 0xFDF0)]
TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=_NONCHARACTERS), min_size=1
)
KINDS = st.sampled_from(
    [
        "application/json",
        "text/plain",
        "text/plain; charset=iso-8859-1",
        "application/xml; charset=koi8-r",
        "application/avro",
        "application/problem+json; charset=UTF-8",
    ]
)
ATTRIBUTES = st.fixed_dictionaries(
    {"specversion": st.just("1.0"), "id": TEXT, "source": TEXT, "type": TEXT},
    optional={"subject": TEXT, "datacontenttype": KINDS, "traceparent": TEXT, "x0": TEXT},
)
EVENTS = st.builds(Event, ATTRIBUTES, st.none() | st.binary())


def body_of(**members: Any) -> bytes:
    return json.dumps(EVENT | members).encode()


def read(body: bytes) -> Event:
    found = of_http([("Content-Type", STRUCTURED)], body)
    assert found is not None
    return found[0]


@given(EVENTS)
def test_an_event_survives_kafka(event: Event) -> None:
    assert of_record(*to_record(event)) == event


@given(EVENTS)
def test_attributes_of_any_unicode_survive_kafka_and_http_in_binary_mode(event: Event) -> None:
    came = of_record(*to_record(event))
    assert came is not None
    headers, body = to_http(came, Mode.BINARY)
    assert all(value.isascii() and value.isprintable() for _, value in headers)
    assert of_http(headers, body) == [event._replace(data=event.data or None)]


@given(EVENTS, st.sampled_from(["record", "request"]))
def test_no_byte_of_a_payload_that_is_no_json_is_lost_in_structured_mode(
    event: Event, way: str
) -> None:
    event = event._replace(attributes={**event.attributes, "datacontenttype": "text/plain"})
    headers, body = to_http(event, Mode.STRUCTURED)
    if way == "request":
        assert of_http(headers, body) == [event]
    else:
        assert of_record([(name, value.encode()) for name, value in headers], body) == event


@given(st.lists(EVENTS, max_size=4))
def test_a_batch_survives_http(events: list[Event]) -> None:
    came = of_http(*batch_to_http(events))
    assert came is not None
    assert [one.attributes["id"] for one in came] == [one.attributes["id"] for one in events]
    for one, sent in zip(came, events, strict=True):
        assert one.data == sent.data or json.loads(one.data or b"") == json.loads(sent.data or b"")


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a": 1.10, "b": 1E400, "a": 2}',
        b"9" * 5000,
        b"-0",
        b"null",
        b'"\\ud800 \\u00e9"',
        '[ "grün",\n 1 ]'.encode(),
    ],
    ids=lambda payload: str(payload[:12]),
)
@pytest.mark.parametrize("kind", ["application/json", "application/problem+json;charset=utf-8"])
def test_a_json_payload_keeps_its_text_in_structured_mode(payload: bytes, kind: str) -> None:
    event = Event({**EVENT, "datacontenttype": kind}, payload)
    headers, body = to_http(event, Mode.STRUCTURED)
    assert b'"data": ' + payload in body
    assert of_http(headers, body) == [event]
    assert of_http(*batch_to_http([event, event])) == [event, event]


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"NaN", b'{"a": -Infinity}', b"\xff", b"\xef\xbb\xbf1", b"[" * 100_000, b"1, 2"],
    ids=lambda payload: str(payload[:12]),
)
@pytest.mark.parametrize("named", [{}, {"datacontenttype": "application/json"}], ids=["no", "json"])
def test_a_payload_that_is_no_json_though_its_type_says_so_goes_as_base64(
    payload: bytes, named: dict[str, str]
) -> None:
    event = Event(EVENT | named, payload)
    headers, body = to_http(event, Mode.STRUCTURED)
    assert "data_base64" in json.loads(body)
    assert of_http(headers, body) == [event]


@pytest.mark.parametrize(
    ("kind", "payload", "member"),
    [
        ("text/plain", "grün".encode(), {"data": "grün"}),
        ("text/plain; charset=ISO-8859-1", b"gr\xfcn", {"data": "grün"}),
        ('text/plain; charset="us-ascii"', b"a", {"data": "a"}),
        ("application/soap+xml", b"<a/>", {"data": "<a/>"}),
        ("text/plain", b"\xff", {"data_base64": "/w=="}),
        ("text/plain; charset=koi8-r", b"a", {"data_base64": "YQ=="}),
        ("application/avro", b"a", {"data_base64": "YQ=="}),
        ("application/json; charset=utf-16", b"1", {"data_base64": "MQ=="}),
    ],
)
def test_the_type_and_its_charset_decide_how_a_payload_is_written_in_json(
    kind: str, payload: bytes, member: dict[str, str]
) -> None:
    event = Event({**EVENT, "datacontenttype": kind}, payload)
    _, body = to_http(event, Mode.STRUCTURED)
    assert json.loads(body) == EVENT | {"datacontenttype": kind} | member
    assert read(body) == event


def test_the_json_that_an_absent_type_implies_is_said() -> None:
    event = Event({**EVENT, "datacontenttype": "application/json"}, b'"text"')
    assert read(body_of(data="text")) == event
    assert to_record(event)[0][-1] == ("content-type", b"application/json")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("5", "5"), ("-0", "0"), ("-2147483648", "-2147483648"), ("true", "true"), ("false", "false")],
)
def test_numbers_and_booleans_of_extensions_become_canonical_strings(
    written: str, canonical: str
) -> None:
    body = body_of()[:-1] + f', "extra": {written}}}'.encode()
    assert read(body).attributes["extra"] == canonical


def test_null_attributes_and_a_null_base64_are_absent() -> None:
    body = body_of(subject=None, extra=None, data_base64=None)
    assert read(body) == Event(EVENT, None)


def test_a_null_payload_is_json_and_not_absent_unless_its_type_is_another() -> None:
    assert read(body_of(data=None)).data == b"null"
    assert read(body_of(data=None, datacontenttype="text/plain")).data is None


def test_a_tombstone_is_an_event_without_data() -> None:
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", value.encode()) for name, value in EVENT.items()
    ]
    assert of_record(headers, None) == Event(EVENT, None)
    # The type of a value that is not there tells nothing.
    assert of_record([*headers, ("content-type", STRUCTURED.encode())], None) == Event(EVENT, None)
    assert to_record(Event(EVENT, None))[1] is None
    assert of_record([*headers, ("ce_extra", None)], b"") == Event(EVENT, b"")


def test_header_names_are_read_in_any_case() -> None:
    headers = [("CE-" + name.upper(), value) for name, value in EVENT.items()]
    found = of_http([*headers, ("CONTENT-TYPE", " Text/Plain ")], b"x")
    assert found == [Event({**EVENT, "datacontenttype": "Text/Plain"}, b"x")]


def test_content_types_are_matched_in_any_case_and_with_parameters() -> None:
    kind = "Application/CloudEvents+JSON ; charset=UTF-8"
    assert of_http([("content-type", kind)], body_of()) == [Event(EVENT, None)]
    assert of_record([("Content-Type", kind.encode())], body_of()) == Event(EVENT, None)


def test_header_values_are_percent_encoded_as_the_binding_says() -> None:
    headers, _ = to_http(Event({**EVENT, "subject": 'Euro € 😀 "%~'}, None), Mode.BINARY)
    assert dict(headers)["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25~"
    assert dict(headers)["ce-source"] == "/shop"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("%e2%82%ac", "€"),
        ("%41", "A"),
        ("%2541", "%41"),
        ('"a b"', "a b"),
        (r'"a\"b\\"', 'a"b\\'),
        ('"%41"', "A"),
        ('a"b', 'a"b'),
        ("100%", "100%"),
        ("a b", "a b"),
    ],
)
def test_header_values_are_unquoted_and_decoded_once(sent: str, meant: str) -> None:
    headers = [("ce-" + name, value) for name, value in EVENT.items()]
    found = of_http([*headers, ("ce-subject", sent)], b"")
    assert found == [Event({**EVENT, "subject": meant}, None)]


def test_what_does_not_say_that_it_is_an_event_is_none() -> None:
    assert of_record([], b"x") is None
    assert of_record([("ce_id", b"1"), ("content-type", b"\xff")], b"x") is None
    assert of_record([("content-type", b"application/cloudeventsx")], b"x") is None
    assert of_http([("content-type", "application/json"), ("x-ce-id", "1")], b"{}") is None


def test_a_later_minor_version_is_accepted_and_an_empty_batch_as_well() -> None:
    assert read(body_of(specversion="1.1")).attributes["specversion"] == "1.1"
    assert of_http([("content-type", "application/cloudevents-batch+json")], b" [ ] ") == []


@given(EVENTS)
def test_a_payload_that_is_itself_an_event_goes_in_structured_mode_only(event: Event) -> None:
    event = event._replace(attributes={**event.attributes, "datacontenttype": STRUCTURED})
    with pytest.raises(MalformedEventError, match="structured mode"):
        to_record(event)
    with pytest.raises(MalformedEventError, match="structured mode"):
        to_http(event, Mode.BINARY)
    assert read(to_http(event, Mode.STRUCTURED)[1]).attributes == event.attributes
