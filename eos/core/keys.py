"""Where the idempotency key of a record is read from, and what is derived from it.

A function that reads a key is given the record as it came: its `value` is bytes, whatever the
step's `decode` makes of it later. One that looks at headers alone says so by an attribute
`reads_headers_only = True`: records without headers need not be shown to it.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import TypeVar

from eos.core.documents import MAX_DOCUMENT_BYTES, Path, parsed
from eos.core.record import Record
from eos.core.settings import KeyOf

F = TypeVar("F", bound=Callable[..., object])

MAX_KEY_BYTES = 512
"""A longer key is replaced by a hash of all of it; it is never cut."""

MAX_SENDER = 1000
"""Characters; what is longer is cut."""
_HASHED = b"blake2b:"
_PAYLOAD_HASH_BYTES = 16
_STRUCTURED = b"application/cloudevents+json"
_SOURCE, _ID = Path("source"), Path("id")


def _of_headers(key: F) -> F:
    vars(key)["reads_headers_only"] = True
    return key


def header(name: str) -> KeyOf:
    """Read the key from a header; the first of several with that name wins.

    Args:
        name: The header's name. One that is empty or null is no key.
    """

    @_of_headers
    def read(record: Record) -> bytes | None:
        return record.header(name)

    return read


@_of_headers
def standard(record: Record) -> bytes | None:
    """Read the key where producers put it by standard or by habit.

    `ce_source` and `ce_id` together (CloudEvents 1.0, Kafka binding: only the pair is unique),
    then `message-id`, then `idempotency-key`.
    """
    headers = record.headers
    if len(headers) == 1:  # by far the most common: one look, no dictionary
        name, value = headers[0]
        return value if name in {"message-id", "idempotency-key"} else None
    found = dict(reversed(headers))
    return _event(found.get("ce_source"), found.get("ce_id")) or (
        found.get("message-id") or found.get("idempotency-key")
    )


def cloudevent(*, max_bytes: int = MAX_DOCUMENT_BYTES) -> KeyOf:
    """Read the key of a CloudEvent: `source` and `id`, of which only the pair is unique.

    In binary mode they are the headers `ce_source` and `ce_id`; in structured mode, which the
    `content-type` `application/cloudevents+json` tells, they stand in the payload. An event has
    the same key in both modes, and the same as by default.

    Args:
        max_bytes: A longer payload is not parsed, and has no key; default 1 MiB.
    """

    def read(record: Record) -> bytes | None:
        kind = (record.header("content-type") or b"").partition(b";")[0].strip().lower()
        if kind != _STRUCTURED:
            return _event(record.header("ce_source"), record.header("ce_id"))
        event = parsed(record.value, max_bytes)
        return _event(_text(_SOURCE(event)), _text(_ID(event)))

    return read


def json_path(path: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> KeyOf:
    """Read the key from a place in a JSON payload.

    A text is the key as it is, a number as it is written. Anything else there, and a payload
    that is no JSON, is no key.

    Args:
        path: `order.id`, `$.order.id`, `items[0].id` or `['a name']`: one place, a subset of
            JSONPath without wildcards, slices and filters.
        max_bytes: A longer payload is not parsed, and has no key; default 1 MiB.

    Raises:
        ConfigError: If the path is none.
    """
    place = Path(path)

    def read(record: Record) -> bytes | None:
        return _text(place(parsed(record.value, max_bytes)))

    return read


def payload_hash() -> KeyOf:
    """Take a hash of the payload as the key: what has the same payload is the same event.

    For topics whose producers give no key at all. Two events that happen to be alike are taken
    for one; so a payload should hold a time or a number. A record without a payload (a
    tombstone, or an empty one) has no key: it is told from its likes by its Kafka key alone.
    """

    def read(record: Record) -> bytes | None:
        if not record.value:
            return None
        return blake2b(record.value, digest_size=_PAYLOAD_HASH_BYTES).hexdigest().encode()

    return read


def sender(record: Record) -> str | None:
    """Give who sent a record, for the audit: its `ce_source` or `source` header, if it has one."""
    found = record.header("ce_source") or record.header("source")
    return found.decode(errors="replace")[:MAX_SENDER] if found else None


def bounded(key: bytes) -> bytes:
    """Give a key as it is, or the hash of one that is longer than `MAX_KEY_BYTES`."""
    if len(key) <= MAX_KEY_BYTES:
        return key
    return _HASHED + blake2b(key, digest_size=32).hexdigest().encode()


def _event(source: bytes | None, id_: bytes | None) -> bytes | None:
    return source + b"\x00" + id_ if source and id_ else None


def _text(found: object) -> bytes | None:
    # JSON can hold half a character.
    return found.encode("utf-8", "surrogatepass") if isinstance(found, str) else None


class MessageIds:
    """Derives the `message-id` of what a step sends from what it handled.

    The same input gives the same ids after a crash, a rebalance or a replay, so that whoever
    reads the output recognises a re-send.

    Args:
        namespace: The namespace of the application.
        step: The name of the step.
    """

    def __init__(self, namespace: str, step: str) -> None:
        self._base = blake2b(digest_size=16)
        self._base.update(f"{namespace}\x00{step}\x00".encode())

    def __call__(self, idempotency_key: str, ordinal: int, run: str = "") -> bytes:
        """Give the id of the `ordinal`-th message sent for this input, as 32 hex digits.

        Args:
            idempotency_key: The input's.
            ordinal: Which one, from 0.
            run: Names a replay whose outputs are to have ids of their own.
        """
        digest = self._base.copy()
        of = f"{idempotency_key}\x00{ordinal}" + (f"\x00{run}" if run else "")
        digest.update(of.encode("utf-8", "surrogatepass"))
        return digest.hexdigest().encode()
