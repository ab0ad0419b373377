"""A message in memory."""

from dataclasses import dataclass

from eos.core.record import Headers


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """A message, in the form of `confluent_kafka.Message`."""

    place: tuple[str, int, int]
    content: tuple[bytes | None, bytes | None, Headers]
    milliseconds: int

    def error(self) -> None:
        """Give nothing: this is a record."""

    def topic(self) -> str:
        """Give the topic's name."""
        return self.place[0]

    def partition(self) -> int:
        """Give the partition's number."""
        return self.place[1]

    def offset(self) -> int:
        """Give the offset in the partition."""
        return self.place[2]

    def key(self) -> bytes | None:
        """Give the record's key."""
        return self.content[0]

    def value(self) -> bytes | None:
        """Give the record's value."""
        return self.content[1]

    def headers(self) -> Headers:
        """Give the headers."""
        return self.content[2]

    def leader_epoch(self) -> int | None:
        """Give the epoch of its leader: there is only one."""
        return None

    def timestamp(self) -> tuple[int, int]:
        """Give the kind of time stamp and the milliseconds since the epoch."""
        return 1, self.milliseconds
