"""CloudEvents 1.0 over Kafka and over HTTP, in the forms that their protocol bindings give.

- Kafka: *binary* (attributes are headers `ce_…`, the payload is the data), *structured* (the
  payload is a JSON document).
- HTTP: *binary* (headers `ce-…`), *structured*, *batched* (a JSON array of such documents).

An event may come in one form and leave in another: its attributes are text, its data are bytes.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote

from eos.core.record import Headers

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_ANY = "application/cloudevents"
_JSON = "application/json"
_REQUIRED = ("specversion", "id", "source", "type")
_NAME = re.compile(r"[a-z0-9]+")
_VERSION = re.compile(r"1\.[0-9]+")
# What a string may not hold: control characters, and halves of surrogate pairs.
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# HTTP binding, 3.1.3.2: all printable ASCII, without space, double quote and percent sign.
_PLAIN = "".join(chr(n) for n in range(0x21, 0x7F) if chr(n) not in '"%')
_BLANK = re.compile(r"[ \t\n\r]*")


class MalformedEventError(ValueError):
    """What says that it is a CloudEvent is none."""


class Mode(StrEnum):
    """How one event travels over HTTP."""

    BINARY = "binary"
    STRUCTURED = "structured"


class Event(NamedTuple):
    """A CloudEvent.

    Attributes:
        attributes: The context attributes by name, `datacontenttype` and extensions among them.
        data: The payload; None: there is none.
    """

    attributes: Mapping[str, str]
    data: bytes | None


def of_record(headers: Headers, value: bytes | None) -> Event | None:
    """Read an event from a Kafka record; None if it is no CloudEvent.

    Raises:
        MalformedEventError: It says that it is one.
    """
    first: dict[str, bytes | None] = dict(reversed(headers))
    content_type = _text_of(first.get("content-type")) or ""
    if _is(content_type, STRUCTURED):
        return _of_document(_decoded(value or b""))
    if "ce_specversion" not in first:
        return None
    found = {
        name.removeprefix("ce_"): _text_of(value)
        for name, value in first.items()
        if name.startswith("ce_")
    }
    return _event(found, content_type, value)


def to_record(event: Event) -> tuple[Headers, bytes | None]:
    """Give headers and value of a Kafka record, in binary mode."""
    headers = [
        (f"ce_{name}", value.encode())
        for name, value in event.attributes.items()
        if name != "datacontenttype"
    ]
    if content_type := event.attributes.get("datacontenttype"):
        headers.append(("content-type", content_type.encode()))
    return headers, event.data


def to_http(event: Event, mode: Mode) -> tuple[list[tuple[str, str]], bytes]:
    """Give headers and body of an HTTP message."""
    if mode is Mode.STRUCTURED:
        return [("content-type", f"{STRUCTURED}; charset=utf-8")], _document(event).encode()
    headers = [
        (f"ce-{name}", quote(value, safe=_PLAIN))
        for name, value in event.attributes.items()
        if name != "datacontenttype"
    ]
    if content_type := event.attributes.get("datacontenttype"):
        headers.append(("content-type", content_type))
    return headers, event.data or b""


def batch_to_http(events: Sequence[Event]) -> tuple[list[tuple[str, str]], bytes]:
    """Give headers and body of an HTTP message that holds several."""
    body = ",".join(map(_document, events))
    return [("content-type", f"{BATCH}; charset=utf-8")], f"[{body}]".encode()


def of_http(headers: Iterable[tuple[str, str]], body: bytes) -> list[Event] | None:
    """Read the events of an HTTP message; None if it has none, but a body of any other kind.

    Raises:
        MalformedEventError: It says that it has some.
    """
    first: dict[str, str] = {}
    for name, value in headers:
        first.setdefault(name.lower(), value)
    content_type = first.get("content-type", "")
    if _is(content_type, BATCH):
        return [_of_document(each) for each in _elements(_decoded(body))]
    if _is(content_type, STRUCTURED):
        return [_of_document(_decoded(body))]
    if content_type.strip().lower().startswith(_ANY):
        raise MalformedEventError(f"{content_type!r}: of CloudEvents' formats only JSON is read")
    if "ce-specversion" not in first:
        return None
    found = {
        name.removeprefix("ce-"): _unquoted(value)
        for name, value in first.items()
        if name.startswith("ce-")
    }
    return [_event(found, content_type, body)]


def _is(content_type: str, kind: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == kind


def _event(found: Mapping[str, str | None], content_type: str, data: bytes | None) -> Event:
    """Check what was found; names that CloudEvents do not have are left out."""
    attributes = {n: v for n, v in found.items() if v is not None and _NAME.fullmatch(n)}
    if content_type:
        attributes["datacontenttype"] = content_type
    for name in _REQUIRED:
        if not attributes.get(name):
            raise MalformedEventError(f"a CloudEvent needs {name!r}")
    if not _VERSION.fullmatch(attributes["specversion"]):
        raise MalformedEventError(f"specversion {attributes['specversion']!r}: only 1.0 is read")
    for name, value in attributes.items():
        if _NO_TEXT.search(value):
            raise MalformedEventError(f"the attribute {name!r} holds control characters")
    return Event(attributes, data)


def _text_of(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise MalformedEventError("an attribute is no UTF-8") from error


def _unquoted(value: str) -> str:
    """Read an attribute from an HTTP header (HTTP binding, 3.1.3.2)."""
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedEventError("a header is no UTF-8, percent-encoded") from error


# --- the JSON format ----------------------------------------------------------------------------


def _document(event: Event) -> str:
    """Write an event as JSON; data that are JSON stand there as they are."""
    told = json.dumps(dict(event.attributes), ensure_ascii=False)
    if event.data is None:
        return told
    name, value = _member(event.data, event.attributes.get("datacontenttype", _JSON))
    return f'{told[:-1]}, "{name}": {value}}}'


def _member(data: bytes, content_type: str) -> tuple[str, str]:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        text = data.decode()
        if kind == _JSON or kind.endswith("+json"):
            _parsed(text)
            return "data", text
        if kind.startswith("text/"):
            return "data", json.dumps(text, ensure_ascii=False)
    except (UnicodeDecodeError, MalformedEventError):
        pass  # it is not what it says; so it travels as bytes
    return "data_base64", json.dumps(b64encode(data).decode())


def _of_document(text: str) -> Event:
    members = _members(text)
    raw, encoded = members.pop("data", None), members.pop("data_base64", None)
    found = {name: _attribute(name, value) for name, (value, _) in members.items()}
    content_type = found.get("datacontenttype") or ""
    data: bytes | None = None
    if encoded is not None and encoded[0] is not None:
        data = _of_base64(encoded[0])
    elif raw is not None:
        value, written = raw
        content_type = content_type or _JSON
        kind = content_type.partition(";")[0].strip().lower()
        is_json = kind == _JSON or kind.endswith("+json")
        data = _bytes(value if isinstance(value, str) and not is_json else written)
    return _event(found, content_type, data)


def _attribute(name: str, value: object) -> str | None:
    """Give an attribute's canonical text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise MalformedEventError(f"the attribute {name!r} is neither text, whole number nor boolean")


def _of_base64(value: object) -> bytes:
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else _none_such()
    except ValueError as error:
        raise MalformedEventError("data_base64 is no base64") from error


def _none_such() -> NoReturn:
    raise ValueError


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedEventError("the data are no UTF-8") from error


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise MalformedEventError("the document is no UTF-8") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def _value_at(text: str, at: int) -> tuple[Any, int, int]:
    """Read a value; gives it, where it begins, and where what follows it does."""
    at = _skipped(text, at)
    try:
        value, end = _decoder.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError(f"no JSON at character {at}") from error
    return value, at, _skipped(text, end)


def _skipped(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _parsed(text: str) -> None:
    """See that a text is JSON, and nothing behind it."""
    if _value_at(text, 0)[2] != len(text):
        raise MalformedEventError("there is something behind the JSON document")


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """Give the members of an object: each value, and how it is written."""
    found: dict[str, tuple[Any, str]] = {}
    for at in _items(text, "{}"):
        name, _, colon = _value_at(text, at)
        if not isinstance(name, str) or text[colon : colon + 1] != ":":
            raise MalformedEventError("a CloudEvent in JSON is an object")
        if name in found:
            raise MalformedEventError(f"the member {name!r} stands there twice")
        value, begin, _ = _value_at(text, colon + 1)
        _, end = _decoder.raw_decode(text, begin)
        found[name] = value, text[begin:end]
    return found


def _elements(text: str) -> list[str]:
    """Give the elements of an array, as they are written."""
    found = []
    for at in _items(text, "[]"):
        _, begin, end = _value_at(text, at)
        found.append(text[begin:end])
    return found


def _items(text: str, brackets: str) -> Iterable[int]:
    """Give where each item of an object or an array begins."""
    at = _skipped(text, 0)
    if text[at : at + 1] != brackets[0]:
        raise MalformedEventError(f"it begins with no {brackets[0]}")
    _parsed(text)  # so that all below is well-formed
    at = _skipped(text, at + 1)
    while text[at] != brackets[1]:
        yield at
        _, _, at = _value_at(text, at)
        if text[at] == ":":
            _, _, at = _value_at(text, at + 1)
        at = _skipped(text, at + 1) if text[at] == "," else at
