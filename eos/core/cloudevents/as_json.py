"""The JSON event format: one event as an object, a batch as an array.

Members are cut out of the text, not parsed and written again: a payload that is JSON keeps
its text, so no digit of a number is lost.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from eos.core.cloudevents.event import (
    NAMED,
    Event,
    MalformedEventError,
    charset,
    checked,
    gathered,
    media_type,
)

T = TypeVar("T")

_SPACE = re.compile(r"[ \t\n\r]*")
_CODECS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1"}
_READ = ("application/cloudevents+json", "application/cloudevents-batch+json")
_INTEGERS = range(-(2**31), 2**31)
_DIGITS = 11  # of the longest of them, with its sign


class _Integer(str):
    """A JSON integer as it is written."""

    __slots__ = ()


class _Fraction(str):
    """Any other JSON number as it is written."""

    __slots__ = ()


class _Member(NamedTuple):
    """What an object's member holds: the value, and the text that it was."""

    value: Any
    text: str


def _constant(name: str) -> NoReturn:
    raise MalformedEventError(f"{name} is no JSON")


# Numbers stay text: Python refuses to make an int of some thousand digits.
_DECODER = json.JSONDecoder(parse_int=_Integer, parse_float=_Fraction, parse_constant=_constant)


def written(event: Event) -> str:
    """Give the event as a JSON object.

    Raises:
        MalformedEventError: If its attributes do not keep the rules.
    """
    head = json.dumps(dict(checked(event).attributes), ensure_ascii=False)[:-1]
    if event.data is None:
        return head + "}"
    return f"{head}, {_payload(event.data, event.attributes.get('datacontenttype'))}}}"


def written_batch(events: Sequence[Event]) -> str:
    """Give the events as a JSON array.

    Raises:
        MalformedEventError: If one does not keep the rules, or their versions differ.
    """
    _same_version(events)
    return "[" + ",".join(written(event) for event in events) + "]"


def read(body: bytes, content_type: str) -> Event:
    """Give the event that a body is.

    Raises:
        MalformedEventError: If it is none.
    """
    return _whole(_event, body, content_type)


def read_batch(body: bytes, content_type: str) -> list[Event]:
    """Give the events that a body holds; a batch may be empty.

    Raises:
        MalformedEventError: If it is no batch, or one of them is no event.
    """
    return _whole(_batch, body, content_type)


def _payload(data: bytes, kind: str | None) -> str:
    """Give the payload's member: as the type's JSON or text where it is that, else in base64."""
    text = _text(data, kind)
    if text is not None and _json_kind(kind) and _is_json(text):
        return f'"data": {text}'
    if text is not None and _text_kind(kind):
        return f'"data": {json.dumps(text, ensure_ascii=False)}'
    return f'"data_base64": "{b64encode(data).decode()}"'


def _text(data: bytes, kind: str | None) -> str | None:
    codec = _CODECS.get(charset(kind or ""))
    try:
        return data.decode(codec) if codec else None
    except UnicodeDecodeError:
        return None


def _json_kind(kind: str | None) -> bool:
    if kind is None:
        return True  # the format's own rule: no type means JSON
    return media_type(kind).endswith(("/json", "+json"))


def _text_kind(kind: str | None) -> bool:
    # By the type alone, never by the bytes: else a payload in Avro came as a string where it
    # happens to be one, and as base64 where it does not.
    if kind is None or _json_kind(kind):
        return False
    kind = media_type(kind)
    return kind.startswith("text/") or kind.endswith(("/xml", "+xml"))


def _is_json(text: str) -> bool:
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _whole(reader: Callable[[str, int], tuple[T, int]], body: bytes, content_type: str) -> T:
    """Read the body from its first letter to its last."""
    if media_type(content_type) not in _READ:
        raise MalformedEventError(
            f"events are read in JSON, not in {media_type(content_type)[:80]!r}: send +json"
        )
    if charset(content_type) not in ("utf-8", "utf8", "us-ascii"):
        raise MalformedEventError("events in JSON are read in UTF-8: send no other charset")
    try:
        text = body.decode()
        found, end = reader(text, _after_space(text, 0))
    except UnicodeDecodeError as error:
        raise MalformedEventError(f"the body is no UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise MalformedEventError(f"the body is no JSON: {error.msg} at {error.pos}") from error
    except RecursionError as error:
        raise MalformedEventError("the body's JSON is nested too deeply") from error
    if _after_space(text, end) != len(text):
        raise MalformedEventError(f"the body is no JSON: extra data at {end}")
    return found


def _batch(text: str, at: int) -> tuple[list[Event], int]:
    events, end = _items(text, at, "[]", _event)
    _same_version(events)
    return events, end


def _event(text: str, at: int) -> tuple[Event, int]:
    pairs, end = _items(text, at, "{}", _member)
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedEventError("a member of the event's JSON object is there twice")
    return _of_members(members), end


def _items(
    text: str, at: int, brackets: str, item: Callable[[str, int], tuple[T, int]]
) -> tuple[list[T], int]:
    """Read what stands between brackets, one item after the other."""
    opening, closing = brackets[0], brackets[1]
    if text[at : at + 1] != opening:
        what = "an event is a JSON object" if opening == "{" else "a batch is a JSON array"
        raise MalformedEventError(f"{what}, and the body has another value at {at}")
    items: list[T] = []
    at = _after_space(text, at + 1)
    if text[at : at + 1] == closing:
        return items, at + 1
    while True:
        found, at = item(text, at)
        items.append(found)
        at = _after_space(text, at)
        if text[at : at + 1] == closing:
            return items, at + 1
        at = _after_space(text, _expect(text, at, ","))


def _member(text: str, at: int) -> tuple[tuple[str, _Member], int]:
    if text[at : at + 1] != '"':
        raise MalformedEventError(f"the body is no JSON: a member's name is missing at {at}")
    name, at = _DECODER.raw_decode(text, at)
    start = _after_space(text, _expect(text, _after_space(text, at), ":"))
    value, end = _DECODER.raw_decode(text, start)
    return (name, _Member(value, text[start:end])), end


def _expect(text: str, at: int, letter: str) -> int:
    if text[at : at + 1] != letter:
        raise MalformedEventError(f"the body is no JSON: {letter!r} is missing at {at}")
    return at + 1


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _of_members(members: dict[str, _Member]) -> Event:
    data = members.pop("data", None)
    base64 = members.pop("data_base64", None)
    attributes = gathered(
        (name, _attribute(name, member.value))
        for name, member in members.items()
        if member.value is not None
    )
    event = checked(Event(attributes, None))
    if base64 is not None and base64.value is not None:
        if data is not None:
            raise MalformedEventError("the event has both 'data' and 'data_base64': give one")
        return event._replace(data=_of_base64(base64.value))
    return event if data is None else _with_data(attributes, data)


def _attribute(name: str, value: Any) -> str:
    """Give the canonical string of an attribute's value."""
    if type(value) is str:
        return value
    if name in NAMED:
        raise MalformedEventError(f"the attribute {name!r} is no string")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Integer) and len(value) <= _DIGITS and int(value) in _INTEGERS:
        return str(int(value))
    raise MalformedEventError(
        f"the attribute {name[:40]!r} is no string, boolean or integer of 32 bits: give a string"
    )


def _of_base64(value: Any) -> bytes:
    try:
        return b64decode(value if type(value) is str else "?", validate=True)
    except ValueError as error:
        raise MalformedEventError("the event's 'data_base64' is no base64 string") from error


def _with_data(attributes: Mapping[str, str], data: _Member) -> Event:
    kind = attributes.get("datacontenttype")
    if _json_kind(kind):
        # What the format implies is said: other bindings have no such rule.
        named = {**attributes, "datacontenttype": kind or "application/json"}
        return Event(named, _encoded(data.text, kind))
    if data.value is None:
        return Event(attributes, None)
    if type(data.value) is not str:
        raise MalformedEventError(
            "the event's 'data' is no string, and its datacontenttype is not JSON"
        )
    return Event(attributes, _encoded(data.value, kind))


def _encoded(text: str, kind: str | None) -> bytes:
    codec = _CODECS.get(charset(kind or ""))
    if codec is None:
        raise MalformedEventError("the charset of 'data' is not known: give 'data_base64'")
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        raise MalformedEventError(f"the event's 'data' is no {codec}: {error.reason}") from error


def _same_version(events: Sequence[Event]) -> None:
    if len({event.attributes.get("specversion") for event in events}) > 1:
        raise MalformedEventError("the events of a batch have different 'specversion's")
