"""Where the idempotency key of a record is read from."""

import json
from typing import Any

import pytest

import eos
from eos.core.errors import ConfigError
from eos.core.keys import header, standard
from eos.core.record import Record


def record(*headers: tuple[str, bytes | None], value: bytes | None = b"v") -> Record:
    found: Any = list(headers)
    return Record("orders", "id", 0, 7, None, value, found, 1_700_000_000_999)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([("message-id", b"m")], b"m"),
        ([("idempotency-key", b"i")], b"i"),
        ([("other", b"o")], None),
        ([("ce_id", b"1")], None),
        ([("ce_source", b"shop"), ("ce_id", b"1")], b"shop\x001"),
        ([("ce_id", b"1"), ("ce_source", b"shop"), ("message-id", b"m")], b"shop\x001"),
        ([("ce_id", b"1"), ("message-id", b"m")], b"m"),
        ([("idempotency-key", b"i"), ("message-id", b"m")], b"m"),
        ([("message-id", b"first"), ("message-id", b"second")], b"first"),
        ([("message-id", b""), ("idempotency-key", b"i")], b"i"),
        ([("message-id", None)], None),
        ([("ce_id", None), ("ce_source", b"shop")], None),
        ([("ce_id", b"1"), ("ce_source", None), ("message-id", b"m")], b"m"),
    ],
)
def test_the_key_is_read_where_standards_and_habit_put_it(
    headers: list[tuple[str, bytes | None]], expected: bytes | None
) -> None:
    assert standard(record(*headers)) == expected


def test_a_header_of_one_s_own_is_the_key() -> None:
    assert header("order-id")(record(("order-id", b"1"), ("order-id", b"2"))) == b"1"
    assert header("order-id")(record()) is None


def test_headers_may_hold_whatever_bytes() -> None:
    assert header("k")(record(("k", b"\xff\x00\xfe"))) == b"\xff\x00\xfe"
    huge = b"x" * 1_000_000
    assert header("k")(record(("k", huge))) == huge


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (standard, True),
        (eos.header("k"), True),
        (eos.cloudevent(), False),
        (eos.json_path("id"), False),
        (eos.payload_hash(), False),
    ],
)
def test_a_function_says_whether_it_looks_at_headers_only(key: Any, *, expected: bool) -> None:
    assert getattr(key, "reads_headers_only", False) is expected


# --- CloudEvents -----------------------------------------------------------------------------

BINARY = (("ce_id", b"1"), ("ce_source", b"/shop/gr\xc3\xbcn"))
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")
EVENT = {"specversion": "1.0", "source": "/shop/gr\u00fcn", "id": "1", "data": {"id": "no"}}


def structured(event: Any, *, kind: bytes = STRUCTURED[1]) -> Record:
    return record(("content-type", kind), value=json.dumps(event).encode())


def test_an_event_has_one_key_in_all_modes_and_by_default() -> None:
    key = eos.cloudevent()
    binary, wrapped = record(*BINARY), structured(EVENT)
    assert key(binary) == key(wrapped) == standard(binary) == "/shop/grün\x001".encode()


def test_the_same_id_of_another_source_is_another_event() -> None:
    assert eos.cloudevent()(structured({**EVENT, "source": "/bank"})) == b"/bank\x001"


@pytest.mark.parametrize(
    "kind", [b"Application/CloudEvents+JSON", b"application/cloudevents+json;charset=utf-8"]
)
def test_the_content_type_tells_the_mode_however_it_is_written(kind: bytes) -> None:
    assert eos.cloudevent()(structured(EVENT, kind=kind)) is not None


@pytest.mark.parametrize(
    "kind", [b"application/json", b"application/cloudevents-batch+json", b"\xff", b""]
)
def test_a_payload_of_another_type_is_not_looked_into(kind: bytes) -> None:
    assert eos.cloudevent()(structured(EVENT, kind=kind)) is None
    in_binary_mode = record(("content-type", kind), *BINARY, value=b"{}")
    assert eos.cloudevent()(in_binary_mode) == "/shop/grün\x001".encode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"id": "1"}',
        b'{"source": "s"}',
        b'{"source": "", "id": "1"}',
        b'{"source": "s", "id": null}',
        b'{"source": {"a": 1}, "id": "1"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_has_no_key(value: bytes | None) -> None:
    assert eos.cloudevent()(record(STRUCTURED, value=value)) is None


def test_an_event_above_the_limit_is_not_parsed() -> None:
    event = structured(EVENT)
    size = len(event.value or b"")
    assert eos.cloudevent(max_bytes=size)(event) is not None
    assert eos.cloudevent(max_bytes=size - 1)(event) is None


# --- a place in a JSON payload -----------------------------------------------------------------

DOCUMENT = {
    "order": {"id": "o-1", "n": 12345678901234567890, "price": 1.10},
    "items": [{"id": "i-0"}, {"id": "i-1"}],
    "a name": "blank",
    "a.b": "dot",
    "grün": "ß",
    "flag": True,
    "nothing": None,
    "text": "",
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("order.id", b"o-1"),
        ("$.order.id", b"o-1"),
        ("$['order']['id']", b"o-1"),
        ('order["id"]', b"o-1"),
        ("items[1].id", b"i-1"),
        ("$.items[0].id", b"i-0"),
        ("['a name']", b"blank"),
        ("$['a.b']", b"dot"),
        ("grün", "ß".encode()),
        ("order.n", b"12345678901234567890"),
        ("order.price", b"1.1"),
        ("items[2].id", None),
        ("items.id", None),
        ("order[0]", None),
        ("order", None),
        ("items", None),
        ("flag", None),
        ("nothing", None),
        ("missing.id", None),
    ],
)
def test_the_key_stands_in_one_place_of_the_payload(path: str, expected: bytes | None) -> None:
    assert eos.json_path(path)(record(value=json.dumps(DOCUMENT).encode())) == expected


def test_the_payload_may_be_a_list() -> None:
    assert eos.json_path("$[1]")(record(value=b'["a", "b"]')) == b"b"
    assert eos.json_path("[0]")(record(value=b'["a", "b"]')) == b"a"


def test_a_number_is_the_key_as_it_is_written() -> None:
    digits = "9" * 5_000  # more than Python makes an int of
    for number in ("1.10", "1e3", digits):
        assert eos.json_path("n")(record(value=f'{{"n": {number}}}'.encode())) == number.encode()


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"no json", b"\xff", b'{"n": NaN}', b"[" * 100_000, b'"n"']
)
def test_a_payload_that_is_no_document_has_no_key(value: bytes | None) -> None:
    assert eos.json_path("n")(record(value=value)) is None


def test_half_a_character_is_a_key_too() -> None:
    assert eos.json_path("n")(record(value=rb'{"n": "\ud800"}'))


def test_a_document_above_the_limit_is_not_parsed() -> None:
    key = eos.json_path("n")
    padding = b" " * (1_048_576 - len(b'{"n":"1"}'))
    assert key(record(value=b'{"n":"1"}' + padding)) == b"1"
    assert key(record(value=b'{"n":"1"} ' + padding)) is None
    assert eos.json_path("n", max_bytes=4)(record(value=b'{"n":"1"}')) is None


@pytest.mark.parametrize(
    "path", ["", "$", ".", ".a", "$a", "a.", "a..b", "a[", "a[]", "a[-1]", "a[*]", "a b", "$..a"]
)
def test_what_is_no_path_is_refused_where_it_is_written(path: str) -> None:
    with pytest.raises(ConfigError, match="json_path"):
        eos.json_path(path)


# --- a hash of the payload ----------------------------------------------------------------------


def test_equal_payloads_have_equal_keys() -> None:
    key = eos.payload_hash()
    assert key(record(value=b"a")) == key(record(value=b"a")) != key(record(value=b"b"))
    assert len(key(record(value=b"\xff" * 1_000_000)) or b"") == 32


@pytest.mark.parametrize("value", [None, b""])
def test_records_without_a_payload_are_not_copies_of_one_another(value: bytes | None) -> None:
    assert eos.payload_hash()(record(value=value)) is None
