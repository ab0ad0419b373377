"""What travels along the line: positions, records, and what a handler sends."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from eos.core.errors import HandlerError

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")

Headers = list[tuple[str, bytes]]


class Position(NamedTuple):
    """Where a record stands in the log. It never changes and is never used twice.

    Attributes:
        topic_id: The topic's id (KIP-516), so that a re-created topic is another topic.
        partition: The partition's number, from 0.
        offset: The record's offset in that partition, from 0.
    """

    topic_id: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Give the form that is used in headers and logs."""
        return f"{self.topic_id}/{self.partition}/{self.offset}"


class Message(Protocol):
    """The part of a `confluent_kafka.Message` that the line reads."""

    def error(self) -> Any:
        """Give what went wrong, where this is no record but an event; None otherwise."""

    def topic(self) -> Any:
        """Give the topic's name."""

    def partition(self) -> Any:
        """Give the partition's number."""

    def offset(self) -> Any:
        """Give the offset in the partition."""

    def key(self) -> Any:
        """Give the record's key, bytes or None."""

    def value(self) -> Any:
        """Give the record's value, bytes or None."""

    def headers(self) -> Any:
        """Give the headers, a list of (name, bytes) or None."""

    def timestamp(self) -> tuple[int, int]:
        """Give the kind of time stamp and the milliseconds since the epoch."""

    def leader_epoch(self) -> Any:
        """Give the epoch of the leader that wrote it; None where nobody knows."""


class Record:
    """One record as a handler sees it.

    Attributes:
        topic: The topic's name.
        topic_id: The topic's id (KIP-516).
        partition: The partition's number.
        offset: The offset in the partition.
        key: The record's Kafka key, or None.
        value: The payload, or None for a tombstone.
        headers: Name and bytes of each header, in the order of the log.
        timestamp: Milliseconds since the epoch, as the log has it.
        idempotency_key: What makes a re-send recognisable; the position where the record
            carries no key of its own. Stable over redeliveries and replays.
        fencing_token: Grows with each take-over of the partition: an effect that carries an
            older token than one already seen comes from a worker that was replaced.
        attempt: Which try of the handler this is, from 1.
        in_doubt: True if an earlier attempt may have had its effect. Always False in the
            transaction tier, where effect and offset are one.
    """

    __slots__ = (
        "attempt",
        "fencing_token",
        "headers",
        "idempotency_key",
        "in_doubt",
        "key",
        "offset",
        "partition",
        "timestamp",
        "topic",
        "topic_id",
        "value",
    )

    def __init__(
        self,
        topic: str,
        topic_id: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp: int,
        fencing_token: int = 0,
    ) -> None:
        # A plain class with slots: a frozen dataclass costs four times as much to make,
        # and one is made for each record.
        self.topic = topic
        self.topic_id = topic_id
        self.partition = partition
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp = timestamp
        self.idempotency_key = ""
        self.fencing_token = fencing_token
        self.attempt = 1
        self.in_doubt = False

    @property
    def position(self) -> Position:
        """Where the record stands in the log."""
        return Position(self.topic_id, self.partition, self.offset)

    def header(self, name: str) -> bytes | None:
        """Give the first header of that name, or None."""
        for header, value in self.headers:
            if header == name:
                return value
        return None

    def __repr__(self) -> str:
        """Name the record by where it stands, never by its payload."""
        return f"Record({self.topic}[{self.partition}]@{self.offset})"


class Send:
    """What a handler wants published, in the transaction that settles its record.

    Args:
        value: The payload, bytes or str, which is encoded as UTF-8; None is a tombstone. Where
            the step has an `encode`, whatever that takes.
        topic: Where to; None means the `to` of the step.
        key: The Kafka key, which decides on the partition; str is encoded as UTF-8; None means
            the key of the record that is handled.
        headers: A mapping or pairs of name and value; str values are encoded as UTF-8. A
            `message-id` given here is kept; otherwise one is derived from the record handled.

    Raises:
        HandlerError: If the key or a header is neither bytes nor str. What the value may be the
            step knows: one that it cannot send makes a dead letter as well.
    """

    __slots__ = ("headers", "key", "topic", "value")

    def __init__(
        self,
        value: Any,
        topic: str | None = None,
        key: bytes | str | None = None,
        headers: dict[str, bytes | str] | Sequence[tuple[str, bytes | str]] | None = None,
    ) -> None:
        self.value = value
        self.topic = topic if topic is None else _topic(topic)
        self.key = as_bytes(key, "key")
        self.headers = _header_list(headers) if headers else []

    def __repr__(self) -> str:
        """Name where it goes, never what it holds."""
        return f"Send(topic={self.topic!r}, value={type(self.value).__name__})"


def _header_list(
    headers: dict[str, bytes | str] | Sequence[tuple[str, bytes | str]],
) -> Headers:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [
        (_name(name, "header's name"), as_bytes(value, "header") or b"") for name, value in pairs
    ]


def _topic(name: str) -> str:
    if not isinstance(name, str) or not _TOPIC.fullmatch(name):
        raise HandlerError(f"{name!r} is no topic name: give letters, digits, '.', '_' or '-'")
    return name


def _name(name: str, what: str) -> str:
    try:
        name.encode()
    except (AttributeError, UnicodeError) as error:
        raise HandlerError(f"the {what} of a Send is {name!r}: give a str") from error
    return name


def as_bytes(value: object, what: str) -> bytes | None:
    """Give what is to be sent as Kafka takes it; str is encoded as UTF-8.

    Raises:
        HandlerError: If it is neither bytes, str nor None, or no UTF-8 can be made of it.
    """
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise HandlerError(f"the {what} of a Send is a {type(value).__name__}: give bytes or str")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise HandlerError(f"the {what} of a Send is no UTF-8: {error.reason}") from error


@dataclass(frozen=True, slots=True)
class Shard:
    """What one ledger script call can decide atomically: a topic as one group reads it.

    Attributes:
        namespace: Separates applications that share a ledger.
        group: The consumer group.
        topic_id: The topic's id, so that a re-created topic begins with an empty ledger.
    """

    namespace: str
    group: str
    topic_id: str

    def __str__(self) -> str:
        """Give the name that ledgers file it under."""
        return f"{self.namespace}/{self.group}/{self.topic_id}"
