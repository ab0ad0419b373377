"""Topics, and the log itself, in memory."""

from collections.abc import Iterator, Mapping, Sequence

from eos.core.frontier import Frontier
from eos.core.ports import Partition
from eos.core.record import Message
from eos.testing.memory.broker import Broker


def topic_id_of(topic: str) -> str:
    """Give a topic's id."""
    return f"id-of-{topic}"


class MemoryTopics:
    """A `Topics`."""

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka

    def describe(self, topic: str) -> tuple[str, int]:
        """Give a topic's id and how many partitions it has."""
        return topic_id_of(topic), self._kafka.count(topic)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where partitions end now."""
        return {partition: len(self._kafka.log(partition)) for partition in partitions}

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give the first offset that each partition still has: nothing is removed."""
        return dict.fromkeys(partitions, 0)

    def compacts(self, topic: str) -> bool:
        """Tell whether a topic may be compacted: none is."""
        del topic
        return False

    def exists(self, topic: str) -> bool:
        """Tell whether there is such a topic."""
        return topic in self._kafka.topics

    def ensure(self, names: Sequence[str], partitions: int = -1, *, retention: int = 0) -> None:
        """Make topics that do not exist yet; all is kept for as long as the test lasts."""
        del retention
        for name in names:
            self._kafka.create(name, partitions)


class MemoryLog:
    """A `Log`."""

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka

    def frontiers(self, topic: str) -> dict[int, Frontier | None]:
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
        times = [int(self._kafka.clock())]
        for number, frontier in frontiers.items():
            times += [m.timestamp()[1] // 1000 for m in self._kafka.log((topic, number))[frontier:]]
        return min(times)

    def read(
        self, topic: str, partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Message]]:
        """Read a stretch of a partition."""
        del to_end  # what is not committed is not in the log
        if stretch := self._kafka.log((topic, partition))[offsets.start : offsets.stop]:
            yield stretch

    def close(self) -> None:
        """Do nothing: there is no connection."""
