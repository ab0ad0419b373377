"""What a test gets to see."""

import json
from dataclasses import dataclass
from typing import Any

from eos.core.record import Headers, Message


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a handler sent, and that is committed.

    Attributes:
        topic: Where to.
        value: The payload.
        key: The Kafka key.
        headers: Name and bytes of each header, `message-id` included.
        partition: The partition.
    """

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers
    partition: int = 0

    def header(self, name: str) -> bytes | None:
        """Give the first header of that name, or None."""
        return next((value for header, value in self.headers if header == name), None)

    def json(self) -> Any:
        """Read the payload as JSON.

        Raises:
            ValueError: If it is none.
        """
        return json.loads(self.value or b"")


@dataclass(frozen=True, slots=True)
class DeadLetter(Sent):
    """A record that could not be handled, as it stands in the dead letter topic."""

    @property
    def reason(self) -> str:
        """Why: `handler_failed`, `conflict`, `missing_key`, …."""
        return self._told("eos-reason")

    @property
    def source(self) -> str:
        """The topic that it was read from."""
        return self._told("eos-topic")

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return int(self._told("eos-attempts") or 0)

    @property
    def error(self) -> str:
        """What the handler raised last; empty if it raised nothing."""
        return self._told("eos-error")

    def _told(self, name: str) -> str:
        # The last one: a record may have been a dead letter before, and its headers are kept.
        found = [value for header, value in self.headers if header == name]
        return found[-1].decode("utf-8", "replace") if found else ""


def contents(
    message: Message,
) -> tuple[str, bytes | None, bytes | None, Headers, int]:
    """Give the fields of a `Sent`."""
    headers = message.headers() or []
    return message.topic(), message.value(), message.key(), headers, message.partition()
