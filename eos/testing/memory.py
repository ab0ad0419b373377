"""Kafka in lists: the ports of a line without any server, to test steps and what they send.

    kafka = MemoryKafka({"orders": 2, "receipts": 1})
    kafka.send("orders", b"1", headers=[("message-id", b"a")])
    line = eos.build.line(settings, steps, kafka.ports(MemoryLedger(60)), emit)
    line.run(stopping=lambda: kafka.settled())
    assert [message.value() for message in kafka.messages("receipts")] == [...]

It has one consumer group, whose members share the partitions, and keeps what the guarantees rest
on: outputs and offsets of a transaction become visible together; offsets that a transaction holds
are not readable before it ends; offsets of an older generation are refused; a second producer
under one transactional id ends and fences the first. It is no broker: nothing here can show that
a guarantee holds on a real one.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from eos.build import Ports
from eos.core.errors import AbortableError, FatalError, FencedError, RetriableError
from eos.core.ports import Ledger, Partition
from eos.core.record import Headers, Message


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """A message, in the form of `confluent_kafka.Message`."""

    place: tuple[str, int, int]
    content: tuple[bytes | None, bytes | None, Headers]
    milliseconds: int

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

    def timestamp(self) -> tuple[int, int]:
        """Give the kind of time stamp and the milliseconds since the epoch."""
        return 1, self.milliseconds


@dataclass(slots=True)
class _Transaction:
    epoch: int = 0
    open: bool = False
    outputs: list[tuple[str, bytes | None, bytes | None, Headers]] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)

    def end(self) -> None:
        self.open, self.outputs, self.offsets = False, [], {}


class MemoryKafka:
    """Topics, a group's committed offsets, and transactions.

    Args:
        topics: How many partitions each topic has.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.generation = 0
        self.committed: dict[Partition, int] = {}
        self._topics = dict(topics)
        self._logs: dict[Partition, list[Message]] = {}
        self._readers: list[MemoryReader] = []
        self._transactions: dict[str, _Transaction] = {}

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int = 0,
        timestamp: float | None = None,
    ) -> int:
        """Append a record.

        Args:
            topic: The topic.
            value: The payload.
            key: The Kafka key.
            headers: Names and values.
            partition: The partition.
            timestamp: Seconds since the epoch; default: now.

        Returns:
            Its offset.
        """
        with self.changed:
            log = self.log((topic, partition))
            place = (topic, partition, len(log))
            seconds = time.time() if timestamp is None else timestamp
            log.append(MemoryMessage(place, (key, value, list(headers)), int(seconds * 1000)))
            self.changed.notify_all()
            return place[2]

    def messages(self, topic: str) -> list[Message]:
        """Give what is committed in a topic, partition by partition."""
        with self.changed:
            return [m for number in range(self.count(topic)) for m in self.log((topic, number))]

    def settled(self) -> bool:
        """Tell whether there is a group, and it has settled all that was sent to what it reads."""
        with self.changed:
            read = {p for reader in self._readers for p in self._partitions(reader.topics)}
            return bool(read) and all(self.committed.get(p, 0) == len(self.log(p)) for p in read)

    def ports(self, ledger: Ledger, transactional_id: str = "memory") -> Ports:
        """Give the ports of one more worker of the group."""
        reader = MemoryReader(self)
        return Ports(
            reader=reader,
            topics=MemoryTopics(self),
            log=lambda: MemoryLog(self),
            ledger=ledger,
            transactions=MemoryTransactions(self, transactional_id),
        )

    # --- for the ports --------------------------------------------------------------------

    def count(self, topic: str) -> int:
        """Give how many partitions a topic has.

        Raises:
            FatalError: If there is no such topic.
        """
        if topic not in self._topics:
            raise FatalError(f"topic {topic!r} does not exist: create it, or correct its name")
        return self._topics[topic]

    def create(self, topic: str) -> None:
        """Make a topic of one partition, unless there is one."""
        self._topics.setdefault(topic, 1)

    def log(self, partition: Partition) -> list[Message]:
        """Give a partition's records."""
        if partition[1] >= self.count(partition[0]):
            raise FatalError(f"there is no partition {partition}")
        return self._logs.setdefault(partition, [])

    def frontiers(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Read committed offsets with a stable read."""
        with self.changed:
            asked = list(partitions)
            for transaction in self._transactions.values():
                if transaction.offsets.keys() & set(asked):
                    raise RetriableError("a transaction is open")
            return {partition: self.committed.get(partition) for partition in asked}

    def join(self, reader: "MemoryReader") -> None:
        """Take a member in, and share the partitions anew."""
        with self.changed:
            self._readers.append(reader)
            self.rebalance()

    def leave(self, reader: "MemoryReader") -> None:
        """Let a member go: it leaves, or the group takes it for dead."""
        with self.changed:
            if reader in self._readers:
                self._readers.remove(reader)
                self.rebalance()

    def rebalance(self) -> None:
        """Share the partitions anew. A member learns of it when it polls."""
        with self.changed:
            self.generation += 1
            for reader in self._readers:
                reader.wanted = []
            topics = {topic for reader in self._readers for topic in reader.topics}
            for n, partition in enumerate(self._partitions(sorted(topics))):
                self._readers[n % len(self._readers)].wanted.append(partition)
            self.changed.notify_all()

    def initialise(self, transactional_id: str) -> int:
        """End what was begun under an id, and give the epoch that fences whoever began it."""
        with self.changed:
            transaction = self._transactions.setdefault(transactional_id, _Transaction())
            transaction.end()
            transaction.epoch += 1
            return transaction.epoch

    def transaction(self, transactional_id: str, epoch: int) -> _Transaction:
        """Give what is under way under an id.

        Raises:
            FencedError: If the epoch is not the newest.
        """
        transaction = self._transactions[transactional_id]
        if transaction.epoch != epoch:
            raise FencedError(f"another process has taken over {transactional_id!r}")
        return transaction

    def _partitions(self, topics: Iterable[str]) -> list[Partition]:
        return [(topic, number) for topic in topics for number in range(self.count(topic))]


class MemoryReader:
    """A `Reader`. Two members that are alive share the partitions.

    Attributes:
        wanted: What the group wants it to have; it learns of it when it polls.
    """

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka
        self._assigned: dict[Partition, int] = {}
        self._assignments = 0
        self._generation = -1
        self._next: dict[Partition, int] = {}
        self._flowing: set[Partition] = set()
        self.topics: Sequence[str] = ()
        self.wanted: list[Partition] = []

    @property
    def assignments(self) -> int:
        """How many times the assignment changed."""
        return self._assignments

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group."""
        self.topics = topics
        self._kafka.join(self)

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        """Wait for up to `limit` messages, and serve rebalances."""
        with self._kafka.changed:
            self._kafka.changed.wait_for(lambda: self._has_news() or self._ready(1), seconds)
            if self._has_news():
                self._reassign()
            messages = self._ready(limit)
            for message in messages:
                self._next[message.topic(), message.partition()] = message.offset() + 1
            return messages

    def assigned(self) -> Mapping[Partition, int]:
        """Give each assigned partition and the number of its assignment."""
        return dict(self._assigned)

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """Read committed offsets with a stable read."""
        return self._kafka.frontiers(partitions)

    def beginnings(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where to begin."""
        return dict.fromkeys(partitions, 0)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this partition from here, and let it flow."""
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

    def _has_news(self) -> bool:
        return bool(self.topics) and self._generation != self._kafka.generation

    def _reassign(self) -> None:
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


class MemoryTopics:
    """A `Topics`."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka

    def describe(self, topic: str) -> tuple[str, int]:
        """Give a topic's id and how many partitions it has."""
        return f"id-of-{topic}", self._kafka.count(topic)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where partitions end now."""
        return {partition: len(self._kafka.log(partition)) for partition in partitions}

    def ensure(self, names: Sequence[str]) -> None:
        """Make topics that do not exist yet."""
        for name in names:
            self._kafka.create(name)


class MemoryLog:
    """A `Log`."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka

    def frontiers(self, topic: str) -> dict[int, int | None]:
        """Read the group's committed offsets of all partitions with a stable read."""
        found = self._kafka.frontiers((topic, n) for n in range(self._kafka.count(topic)))
        return {number: offset for (_, number), offset in found.items()}

    def window_starts(self, topic: str, seconds: int) -> dict[int, int]:
        """Give the first offset of each partition that is as new as this log time."""
        starts = {}
        for number in range(self._kafka.count(topic)):
            log = self._kafka.log((topic, number))
            newer = [m.offset() for m in log if m.timestamp()[1] >= seconds * 1000]
            starts[number] = newer[0] if newer else len(log)
        return starts

    def log_time(self, topic: str, frontiers: Mapping[int, int]) -> int:
        """Give the log time in seconds that the group has come to."""
        times = [int(time.time())]
        for number, frontier in frontiers.items():
            times += [m.timestamp()[1] // 1000 for m in self._kafka.log((topic, number))[frontier:]]
        return min(times)

    def read(self, topic: str, partition: int, offsets: range) -> Iterator[Sequence[Message]]:
        """Read a stretch of a partition."""
        if stretch := self._kafka.log((topic, partition))[offsets.start : offsets.stop]:
            yield stretch

    def close(self) -> None:
        """Do nothing: there is no connection."""


class MemoryTransactions:
    """A `Transactions`; two under one id fence each other."""

    def __init__(self, kafka: MemoryKafka, transactional_id: str) -> None:
        self._kafka = kafka
        self._id = transactional_id
        self._epoch: int | None = None

    def prepare(self) -> None:
        """Have a producer that may begin."""
        if self._epoch is None:
            self._epoch = self._kafka.initialise(self._id)

    def begin(self) -> None:
        """Begin a transaction."""
        self.prepare()
        with self._kafka.changed:
            self._current().open = True

    def produce(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        """Add a message to the transaction."""
        with self._kafka.changed:
            self._current().outputs.append((topic, value, key, headers))

    def send_offsets(self, offsets: Mapping[Partition, int], group_metadata: object) -> None:
        """Add the frontiers, fenced by the group's generation."""
        with self._kafka.changed:
            if group_metadata != self._kafka.generation:
                raise AbortableError("the group moved on", "transaction")
            self._current().offsets.update(offsets)

    def commit(self) -> bool:
        """Commit."""
        with self._kafka.changed:
            current = self._current()
            for topic, value, key, headers in current.outputs:
                self._kafka.send(topic, value, key=key, headers=headers)
            self._kafka.committed.update(current.offsets)
            current.end()
            return True

    def abort(self) -> None:
        """Abort what was begun."""
        with self._kafka.changed:
            if self._epoch is not None:
                self._current().end()

    def settle_unknown(self) -> None:
        """Make the outcome of a transaction final."""
        self._epoch = self._kafka.initialise(self._id)

    def close(self) -> None:
        """Abort what was begun; a producer that was replaced has nothing to abort."""
        try:
            self.abort()
        except FencedError:
            return

    def _current(self) -> _Transaction:
        return self._kafka.transaction(self._id, self._epoch or 0)
