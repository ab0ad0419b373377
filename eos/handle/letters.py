"""Messages to be published, and the dead letter that a record becomes."""

import traceback
from hashlib import blake2b
from typing import NamedTuple

from eos.core.letters import (
    ATTEMPTS,
    ERROR,
    GROUP,
    KEY,
    OMITTED,
    POSITION,
    REASON,
    TIMESTAMP,
    TOPIC,
    TRACEBACK,
    earlier_attempts,
    redriven,
)
from eos.core.record import Headers, Record

# What a message costs beside its bytes, at most, and each of its headers.
OVERHEAD = 128
HEADER_OVERHEAD = 20
_LONGEST_HEADER = 1024  # of those that we add to a dead letter


class Output(NamedTuple):
    """A message to be published."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers


class DeadLetters:
    """Makes dead letters: the record as it was, and in its headers why it is there.

    Args:
        topic: The dead letter topic.
        max_bytes: How large a message may be.
        group: The consumer group that makes them.
    """

    def __init__(self, topic: str, max_bytes: int, group: str) -> None:
        self._topic = topic
        self._max_bytes = max_bytes
        self._group = group

    def __call__(
        self,
        record: Record,
        reason: str,
        error: Exception | None = None,
        *,
        attempts: int | None = None,
    ) -> Output:
        """Make the dead letter of a record.

        Args:
            record: What could not be handled.
            reason: A word from a closed set, such as `handler_failed`.
            error: What was raised.
            attempts: How often it was tried; default: this was its last try. Of a record that was
                redriven the tries before that count, too.
        """
        tried = record.attempt if attempts is None else attempts
        if record.headers and redriven(record.headers, record.topic_id, self._group):
            tried += earlier_attempts(record.headers)
        told: list[tuple[str, str]] = [
            (REASON, reason),
            (ATTEMPTS, str(tried)),
            (TOPIC, record.topic),
            (POSITION, str(record.position)),
            (TIMESTAMP, str(record.timestamp)),
            (GROUP, self._group),
        ]
        if error is not None:
            told += [(ERROR, in_short(error)), (TRACEBACK, _digest(error))]
        headers = [(n, v.encode("utf-8", "backslashreplace")[:_LONGEST_HEADER]) for n, v in told]
        # Byte by byte what the producer gave: it may be no text.
        key = record.idempotency_key.encode("utf-8", "surrogateescape")
        headers.append((KEY, key))
        letter = Output(self._topic, record.value, record.key, [*record.headers, *headers])
        if size_of(letter) > self._max_bytes:
            # Its position says where the payload still stands.
            omitted = (OMITTED, str(len(record.value or b"")).encode())
            letter = Output(self._topic, None, None, [*headers, omitted])
        return letter


def size_of(output: Output) -> int:
    """Give how large librdkafka finds a message, rounded up."""
    headers = sum(len(n) + len(v or b"") + HEADER_OVERHEAD for n, v in output.headers)
    return len(output.value or b"") + len(output.key or b"") + headers + OVERHEAD


def in_short(error: Exception) -> str:
    """Give an error's kind and message, at most 200 characters."""
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except Exception:  # noqa: BLE001 the user's error may not be able to say what it is
        return type(error).__name__


def _digest(error: Exception) -> str:
    """Tell failures apart that came about in the same way: where, not what it said."""
    frames = traceback.extract_tb(error.__traceback__)
    told = [type(error).__qualname__, *(f"{f.filename}:{f.lineno}:{f.name}" for f in frames)]
    return blake2b("\n".join(told).encode("utf-8", "replace"), digest_size=8).hexdigest()
