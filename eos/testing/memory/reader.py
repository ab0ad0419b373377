"""A member of the group in memory."""

from collections.abc import Iterable, Mapping, Sequence

from eos.core.errors import AbortableError
from eos.core.frontier import Frontier
from eos.core.ports import Partition, Revoking
from eos.core.record import Message
from eos.testing.memory.broker import Broker


class MemoryReader:
    """A `Reader`. Two members that are alive share the partitions.

    Attributes:
        topics: What it has subscribed to.
        wanted: What the group wants it to have; it learns of it when it polls.
    """

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka
        self._assigned: dict[Partition, int] = {}
        self._assignments = 0
        self._generation = -1
        self._next: dict[Partition, int] = {}
        self._flowing: set[Partition] = set()
        self._revoking: Revoking = lambda _: None
        self.topics: Sequence[str] = ()
        self.wanted: list[Partition] = []

    @property
    def assignments(self) -> int:
        """How many times the assignment changed."""
        return self._assignments

    def subscribe(self, topics: Sequence[str], revoking: Revoking) -> None:
        """Join the group."""
        self.topics = topics
        self._revoking = revoking
        self._kafka.join(self)

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        """Wait for up to `limit` messages, and serve rebalances."""
        with self._kafka.changed:
            self._kafka.changed.wait_for(self.has_news, seconds)
            if self._is_stale():
                self._reassign()
            messages = self._ready(limit)
            for message in messages:
                self._next[message.topic(), message.partition()] = message.offset() + 1
            return messages

    def has_news(self) -> bool:
        """Tell whether a poll would have something to do."""
        return self._is_stale() or bool(self._ready(1))

    def assigned(self) -> Mapping[Partition, int]:
        """Give each assigned partition and the number of its assignment."""
        return dict(self._assigned)

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, Frontier | None]:
        """Read committed offsets with a stable read."""
        return self._kafka.frontiers(partitions)

    def commit(self, frontiers: Mapping[Partition, Frontier], *, wait: bool) -> None:  # noqa: ARG002
        """Commit offsets, fenced by the group's generation."""
        with self._kafka.changed:
            if self._generation != self._kafka.generation:
                raise AbortableError("the group moved on", "transaction")
            self._kafka.committed.update(frontiers)

    def beginnings(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where to begin."""
        return dict.fromkeys(partitions, 0)

    def seek(self, partition: Partition, offset: int, leader_epoch: int = -1) -> None:
        """Read this partition from here, and let it flow."""
        del leader_epoch  # there is no other leader
        self._next[partition] = offset
        self._flowing.add(partition)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hold partitions back."""
        self._flowing -= set(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Let partitions flow again."""
        self._flowing |= set(partitions) & self._assigned.keys()

    def group_metadata(self) -> object:
        """Give the generation."""
        return self._generation

    def close(self) -> None:
        """Leave the group."""
        self._kafka.leave(self)

    def _is_stale(self) -> bool:
        return bool(self.topics) and self._generation != self._kafka.generation

    def _reassign(self) -> None:
        if revoked := [p for p in self._assigned if p not in self.wanted]:
            self._revoking(revoked)
        self._generation = self._kafka.generation
        self._assignments += 1
        kept = {p: n for p, n in self._assigned.items() if p in self.wanted}
        self._assigned = dict.fromkeys(self.wanted, self._assignments) | kept
        self._flowing &= self._assigned.keys()

    def _ready(self, limit: int) -> list[Message]:
        ready = [
            message
            for partition in sorted(self._flowing)
            for message in self._kafka.log(partition)[self._next[partition] :]
        ]
        return ready[:limit]
