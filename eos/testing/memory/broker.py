"""What a broker knows: topics, a group's committed offsets, and transactions."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from eos.core.errors import FatalError, FencedError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Partition
from eos.core.record import Headers, Message
from eos.testing.memory.message import MemoryMessage


class Member(Protocol):
    """A member of the group.

    Attributes:
        topics: What it has subscribed to.
        wanted: What the group wants it to have.
    """

    topics: Sequence[str]
    wanted: list[Partition]


@dataclass(slots=True)
class Transaction:
    """What is under way under a transactional id."""

    epoch: int = 0
    open: bool = False
    expired: bool = False
    outputs: list[tuple[str, bytes | None, bytes | None, Headers, int]] = field(
        default_factory=list
    )
    offsets: dict[Partition, Frontier] = field(default_factory=dict)

    def end(self) -> None:
        """Forget what was begun."""
        self.open, self.outputs, self.offsets = False, [], {}


class Broker:
    """Topics, a group's committed offsets, and transactions.

    Args:
        topics: How many partitions each topic has.
        others: How many partitions a topic has that is not named there; None: there are no others.
        clock: Gives the time in seconds since the epoch, for time stamps.

    Attributes:
        changed: Held while anything is read or changed, and told of changes.
        generation: The group's generation.
        committed: The group's committed offsets.
        clock: As given.
    """

    def __init__(
        self,
        topics: Mapping[str, int],
        *,
        others: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.generation = 0
        self.committed: dict[Partition, Frontier] = {}
        self.clock = clock
        self._topics = dict(topics)
        self._others = others
        self._logs: dict[Partition, list[Message]] = {}
        self._members: list[Member] = []
        self._transactions: dict[str, Transaction] = {}

    # --- for tests ------------------------------------------------------------------------

    @property
    def topics(self) -> list[str]:
        """The names of all topics."""
        return list(self._topics)

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int | None = None,
        timestamp: float | None = None,
    ) -> int:
        """Append a record.

        Args:
            topic: The topic.
            value: The payload.
            key: The Kafka key.
            headers: Names and values.
            partition: The partition; default: as the key has it, without a key the first.
            timestamp: Seconds since the epoch; default: now.

        Returns:
            Its offset.
        """
        with self.changed:
            if partition is None:
                partition = crc32(key) % self.count(topic) if key else 0
            log = self.log((topic, partition))
            place = (topic, partition, len(log))
            seconds = self.clock() if timestamp is None else timestamp
            log.append(MemoryMessage(place, (key, value, list(headers)), int(seconds * 1000)))
            self.changed.notify_all()
            return place[2]

    def publish(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> None:
        """Append a record outside of any transaction."""
        self.send(
            topic, value, key=key, headers=headers, partition=None if partition < 0 else partition
        )

    def messages(self, topic: str) -> list[Message]:
        """Give what is committed in a topic, partition by partition."""
        with self.changed:
            return [m for number in range(self.count(topic)) for m in self.log((topic, number))]

    def settled(self) -> bool:
        """Tell whether there is a group, and it has settled all that was sent to what it reads."""
        with self.changed:
            read = {p for member in self._members for p in self._partitions(member.topics)}
            return bool(read) and all(self._offset(p) == len(self.log(p)) for p in read)

    # --- for the ports --------------------------------------------------------------------

    def count(self, topic: str) -> int:
        """Give how many partitions a topic has.

        Raises:
            FatalError: If there is no such topic.
        """
        if topic not in self._topics:
            if self._others is None:
                raise FatalError(f"topic {topic!r} does not exist: create it, or correct its name")
            self._topics[topic] = self._others
        return self._topics[topic]

    def create(self, topic: str, partitions: int = -1) -> None:
        """Make a topic, unless there is one; by default of one partition."""
        self._topics.setdefault(topic, max(1, partitions))

    def log(self, partition: Partition) -> list[Message]:
        """Give a partition's records."""
        if partition[1] >= self.count(partition[0]):
            raise FatalError(f"there is no partition {partition}")
        return self._logs.setdefault(partition, [])

    def frontiers(self, partitions: Iterable[Partition]) -> dict[Partition, Frontier | None]:
        """Read committed offsets with a stable read."""
        with self.changed:
            asked = list(partitions)
            for transaction in self._transactions.values():
                if transaction.offsets.keys() & set(asked):
                    raise RetriableError("a transaction is open")
            return {partition: self.committed.get(partition) for partition in asked}

    def join(self, member: Member) -> None:
        """Take a member in, and share the partitions anew."""
        with self.changed:
            self._members.append(member)
            self.rebalance()

    def leave(self, member: Member) -> None:
        """Let a member go: it leaves, or the group takes it for dead."""
        with self.changed:
            if member in self._members:
                self._members.remove(member)
                self.rebalance()

    def rebalance(self) -> None:
        """Share the partitions anew. A member learns of it when it polls."""
        with self.changed:
            self.generation += 1
            for member in self._members:
                member.wanted = []
            topics = {topic for member in self._members for topic in member.topics}
            for n, partition in enumerate(self._partitions(sorted(topics))):
                self._members[n % len(self._members)].wanted.append(partition)
            self.changed.notify_all()

    def initialise(self, transactional_id: str) -> int:
        """End what was begun under an id, and give the epoch that fences whoever began it."""
        with self.changed:
            transaction = self._transactions.setdefault(transactional_id, Transaction())
            transaction.end()
            transaction.epoch += 1
            return transaction.epoch

    def expire(self, transactional_id: str) -> None:
        """End what was begun under an id, because it was open for too long."""
        with self.changed:
            transaction = self._transactions.get(transactional_id)
            if transaction and transaction.open:
                transaction.end()
                transaction.expired = True

    def transaction(self, transactional_id: str, epoch: int) -> Transaction:
        """Give what is under way under an id.

        Raises:
            FencedError: If the epoch is not the newest.
        """
        transaction = self._transactions[transactional_id]
        if transaction.epoch != epoch:
            raise FencedError(f"another process has taken over {transactional_id!r}")
        return transaction

    def _offset(self, partition: Partition) -> int:
        return self.committed.get(partition, Frontier(0)).offset

    def _partitions(self, topics: Iterable[str]) -> list[Partition]:
        return [(topic, number) for topic in topics for number in range(self.count(topic))]
