"""CloudEvents as HTTP headers and body, of a request or of an answer."""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from urllib.parse import quote, unquote_to_bytes

from eos.core.cloudevents import as_json
from eos.core.cloudevents.event import (
    REQUIRED,
    Event,
    MalformedEventError,
    binary,
    checked,
    gathered,
    is_batch,
    is_structured,
)

_PREFIX = "ce-"
_CONTENT_TYPE = "content-type"
_SIGNS = frozenset(_PREFIX + name for name in REQUIRED)
_PLAIN = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


class Mode(StrEnum):
    """How one event is sent: attributes as headers, or all of it as the body."""

    BINARY = "binary"
    STRUCTURED = "structured"


def to_http(event: Event, mode: Mode) -> tuple[list[tuple[str, str]], bytes]:
    """Give headers and body. In binary mode no payload and an empty one are the same.

    Raises:
        MalformedEventError: If the event does not keep the rules.
    """
    if mode is Mode.STRUCTURED:
        body = as_json.written(event).encode()
        return [(_CONTENT_TYPE, "application/cloudevents+json")], body
    return [
        (_CONTENT_TYPE, value)
        if name == "datacontenttype"
        else (_PREFIX + name, quote(value, safe=_PLAIN))
        for name, value in binary(event).attributes.items()
    ], event.data or b""


def batch_to_http(events: Sequence[Event]) -> tuple[list[tuple[str, str]], bytes]:
    """Give headers and body of several events, of none as well.

    Raises:
        MalformedEventError: If one does not keep the rules, or their versions differ.
    """
    body = as_json.written_batch(events).encode()
    return [(_CONTENT_TYPE, "application/cloudevents-batch+json")], body


def of_http(headers: Iterable[tuple[str, str]], body: bytes) -> list[Event] | None:
    """Give the events that headers and body are; None: a plain body.

    An empty body in binary mode is no payload.

    Raises:
        MalformedEventError: If they say that they are CloudEvents, by the content type or by
            the header of a required attribute, and are not.
    """
    given = [(name.lower(), value.strip(" \t")) for name, value in headers]
    kinds = [value for name, value in given if name == _CONTENT_TYPE]
    kind = kinds[0] if kinds else ""
    whole, batch = is_structured(kind), is_batch(kind)
    if not (whole or batch or any(name in _SIGNS for name, _ in given)):
        return None
    if len(kinds) > 1:
        raise MalformedEventError(f"the header {_CONTENT_TYPE!r} is there twice")
    if batch:
        return as_json.read_batch(body, kind)
    if whole:
        return [as_json.read(body, kind)]
    return [checked(Event(gathered(_attributes(given)), body or None))]


def _attributes(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name == _CONTENT_TYPE:
            yield "datacontenttype", value
        elif name == f"{_PREFIX}datacontenttype":
            raise MalformedEventError(f"the header {name!r} is not allowed: use {_CONTENT_TYPE!r}")
        elif name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX), _decoded(name, value)


def _decoded(name: str, value: str) -> str:
    """Undo quotes, then one round of percent-encoding, as the binding says in 3.1.3.2."""
    quoted = _QUOTED.fullmatch(value)
    plain = _ESCAPE.sub(r"\1", quoted.group(1)) if quoted else value
    if not plain.isascii():
        raise MalformedEventError(f"the header {name[:40]!r} is no ASCII: percent-encode its UTF-8")
    try:
        return unquote_to_bytes(plain).decode()
    except UnicodeDecodeError as error:
        raise MalformedEventError(
            f"the header {name[:40]!r} is percent-encoded no UTF-8"
        ) from error
