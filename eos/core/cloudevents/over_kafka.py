"""CloudEvents as Kafka records: binary mode both ways, structured mode on the way in."""

from collections.abc import Iterator, Sequence

from eos.core.cloudevents import as_json
from eos.core.cloudevents.event import (
    Event,
    MalformedEventError,
    binary,
    checked,
    gathered,
    is_batch,
    is_structured,
)
from eos.core.record import Headers

_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"


def of_record(headers: Sequence[tuple[str, bytes | None]], value: bytes | None) -> Event | None:
    """Give the event that a record is; None: it is none.

    A record says that it is one by the header `ce_specversion`, or by a `content-type` of
    CloudEvents.

    Raises:
        MalformedEventError: If it says so and is not.
    """
    kinds = [held for name, held in headers if name.lower() == _CONTENT_TYPE and held is not None]
    # Latin-1 reads any bytes; what has to be UTF-8 is read again below.
    kind = kinds[0].decode("latin-1") if kinds else ""
    whole = is_structured(kind)
    says = any(name == f"{_PREFIX}specversion" and held is not None for name, held in headers)
    if is_batch(kind):
        raise MalformedEventError("a record holds one event, not a batch")
    if not (whole or says):
        return None
    if len(kinds) > 1:
        raise MalformedEventError(f"the header {_CONTENT_TYPE!r} is there twice")
    if not whole:
        return checked(Event(gathered(_attributes(headers)), value))
    if value is not None:
        return as_json.read(value, kind)
    if not says:
        raise MalformedEventError("a record without a value holds no event in structured mode")
    attributes = gathered(_attributes(headers))
    del attributes["datacontenttype"]  # it told of the value, and there is none
    return checked(Event(attributes, None))


def to_record(event: Event) -> tuple[Headers, bytes | None]:
    """Give headers and value of a record in binary mode; no payload makes a tombstone.

    Raises:
        MalformedEventError: If the event does not keep the rules.
    """
    return [
        (_CONTENT_TYPE if name == "datacontenttype" else _PREFIX + name, value.encode())
        for name, value in binary(event).attributes.items()
    ], event.data


def _attributes(headers: Sequence[tuple[str, bytes | None]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if value is None:
            continue
        if name.lower() == _CONTENT_TYPE:
            yield "datacontenttype", _text(name, value)
        elif name == f"{_PREFIX}datacontenttype":
            raise MalformedEventError(f"the header {name!r} is not allowed: use {_CONTENT_TYPE!r}")
        elif name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX), _text(name, value)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedEventError(f"the header {name[:40]!r} is no UTF-8") from error
