"""Where the idempotency key of a record is read from, and what is derived from it."""

from hashlib import blake2b

from eos.core.record import Record
from eos.core.settings import KeyOf


def header(name: str) -> KeyOf:
    """Read the key from a header; the first of several with that name wins."""

    def read(record: Record) -> bytes | None:
        return record.header(name)

    return read


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
    if (source := found.get("ce_source")) and (id_ := found.get("ce_id")):
        return source + b"\x00" + id_
    return found.get("message-id") or found.get("idempotency-key")


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

    def __call__(self, idempotency_key: str, ordinal: int) -> bytes:
        """Give the id of the `ordinal`-th message sent for this input, as 32 hex digits."""
        digest = self._base.copy()
        digest.update(f"{idempotency_key}\x00{ordinal}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest().encode()
