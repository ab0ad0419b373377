"""What is sent to an app, and what its answer has published. Pure: no I/O."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from eos.core import cloudevents
from eos.core.cloudevents import Event, MalformedEventError, Mode
from eos.core.record import Record, Send
from eos.doors.sidecar.deliver.answers import Answer

Request = tuple[list[tuple[str, str]], bytes]
"""Headers and body."""

PLAIN, STRUCTURED, BATCHED = "plain", "structured", "batched"

_OCTETS = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9.+_-]+/[a-z0-9.+_-]+ *(;[ -~]*)?", re.IGNORECASE)
_TRACE = ("traceparent", "tracestate")
# Of printable ASCII, all but what a string of RFC 8941 would have to escape, and the percent sign.
_SAFE = "".join(chr(n) for n in range(0x20, 0x7F) if chr(n) not in '"%\\')


def request_of(mode: str, record: Record) -> Request:
    """Give the request that hands a record to the app."""
    event = None if mode == PLAIN else _event(record)
    if mode == STRUCTURED:
        headers, body = cloudevents.to_http(event or wrapped(record), Mode.STRUCTURED)
    elif event is not None:
        headers, body = _binary(event)
    else:
        headers, body = [("content-type", _content_type(record))], record.value or b""
    return [*headers, *_ours(record)], body


def batch_of(records: Sequence[Record]) -> Request:
    """Give the request that hands over several records; what else is told of each are attributes.

    Their names are those of the headers without dashes.
    """
    events = []
    for record in records:
        event = _event(record) or wrapped(record)
        told = {name.replace("-", ""): value for name, value in _told(record)}
        same = {"specversion": "1.0"}  # an SDK may refuse a batch of several
        events.append(event._replace(attributes={**event.attributes, **told, **same}))
    headers, body = cloudevents.batch_to_http(events)
    return [*headers, ("eos-topic", records[0].topic)], body


def sends_of(answer: Answer) -> list[Send]:
    """Give what an answer has published: its CloudEvents, one or a batch; any other body nothing.

    The attribute `partitionkey` is the Kafka key; without it the key is that of the record.

    Raises:
        MalformedEventError: It says that it is an event, and is none.
    """
    events = cloudevents.of_http(answer.headers.items(), answer.body)
    sends = []
    for event in events or ():
        headers, value = cloudevents.to_record(event)
        # Not None: who answers without a body wants no tombstone.
        value = value or b""
        sends.append(Send(value, key=event.attributes.get("partitionkey"), headers=headers))
    return sends


def wrapped(record: Record) -> Event:
    """Make a CloudEvent of a record that is none: its position is the id."""
    kind = _content_type(record)
    attributes = {
        "specversion": "1.0",
        "id": str(record.position),
        "source": f"/{record.topic}",
        "type": "eos.record",
        "datacontenttype": kind if _MEDIA_TYPE.fullmatch(kind) else _OCTETS,
        "time": datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(),
    }
    return Event(attributes, record.value)


def _binary(event: Event) -> Request:
    try:
        return cloudevents.to_http(event, Mode.BINARY)
    except MalformedEventError:  # its data are an event themselves, and would be taken for it
        return cloudevents.to_http(event, Mode.STRUCTURED)


def quoted(key: str) -> str:
    """Give a key as the header `Idempotency-Key` has it: a string of RFC 8941.

    What no such string can hold is percent-encoded, and so is the percent sign.
    """
    return f'"{quote(key.encode("utf-8", "surrogateescape"), safe=_SAFE)}"'


def unquoted(header: str) -> str:
    """Read what `quoted` wrote."""
    return unquote(header[1:-1], errors="surrogateescape")


def _event(record: Record) -> Event | None:
    try:
        return cloudevents.of_record(record.headers, record.value)
    except MalformedEventError:
        return None  # the app gets it as it came


def _ours(record: Record) -> Iterable[tuple[str, str]]:
    yield "idempotency-key", quoted(record.idempotency_key)
    yield "eos-topic", record.topic
    for name, value in _told(record):
        if name != "idempotency-key":
            yield name, value
    for name in _TRACE:
        if (trace := _printable(record.header(name))) is not None:
            yield name, trace


def _told(record: Record) -> Iterable[tuple[str, str]]:
    yield "idempotency-key", quoted(record.idempotency_key)[1:-1]
    yield "eos-position", str(record.position)
    yield "eos-attempt", str(record.attempt)
    yield "eos-in-doubt", "true" if record.in_doubt else "false"
    yield "eos-fencing-token", str(record.fencing_token)
    if record.key is not None:
        yield "eos-key", quote(record.key, safe=_SAFE)


def _content_type(record: Record) -> str:
    return _printable(record.header("content-type")) or _OCTETS


def _printable(value: bytes | None) -> str | None:
    """Give a header's text; None where it holds what could end a header, or is no text."""
    text = (value or b"").decode("utf-8", "replace").strip()
    return text if text and text.isascii() and text.isprintable() else None
