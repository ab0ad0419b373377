"""The log: read in a group, and outside of any; what its topics are."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from eos.core.frontier import Frontier
from eos.core.record import Message

Partition = tuple[str, int]
"""A topic's name and a partition's number."""


Revoking = Callable[[Collection[Partition]], None]
"""Told of partitions that are about to be given back, while they are still ours. Never raises."""


class Reader(Protocol):
    """A member of the consumer group. Belongs to one thread."""

    @property
    def assignments(self) -> int:
        """How many times the assignment changed: compare it to see whether it did."""

    def subscribe(self, topics: Sequence[str], revoking: Revoking) -> None:
        """Join the group. Partitions arrive paused, and flow after `seek`.

        Args:
            topics: What to read.
            revoking: Called from within `poll` and `close` before partitions are given back;
                not for those that are lost already.
        """

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        """Wait for a message, give up to `limit` that are there, and serve rebalances."""

    def assigned(self) -> Mapping[Partition, int]:
        """Give each partition that the group assigned here, and its assignment's number."""

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, Frontier | None]:
        """Read committed offsets with a stable read (KIP-447); None where there is none."""

    def commit(self, frontiers: Mapping[Partition, Frontier], *, wait: bool) -> None:
        """Commit offsets outside of any transaction, fenced by the group's generation.

        Args:
            frontiers: What to commit.
            wait: Wait for the answer, and raise what it says; without, nobody is told.
        """

    def beginnings(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where to begin in partitions that the group never settled anything of."""

    def seek(self, partition: Partition, offset: int, leader_epoch: int = -1) -> None:
        """Read this partition from here, and let it flow.

        Args:
            partition: The partition.
            offset: The first offset to read.
            leader_epoch: Of the record before it (`Frontier.leader_epoch`).
        """

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hold partitions back; polling goes on."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Let partitions flow again from where they were held back."""

    def group_metadata(self) -> object:
        """Give the membership that fences offsets: pinned when a batch is read."""

    def close(self) -> None:
        """Leave the group."""


class Topics(Protocol):
    """What a topic is."""

    def describe(self, topic: str) -> tuple[str, int]:
        """Give a topic's id (KIP-516) and how many partitions it has."""

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where partitions end now, open transactions included."""

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give the first offset that each partition still has."""

    def compacts(self, topic: str) -> bool:
        """Tell whether a topic may be compacted; False where nobody may be asked."""

    def ensure(self, names: Sequence[str], partitions: int = -1, *, retention: int = 0) -> None:
        """Make topics that do not exist yet.

        Args:
            names: Their names.
            partitions: How many partitions; -1: as many as is usual on these brokers.
            retention: For how long their records are kept, in seconds; 0: as is usual there.
        """

    def exists(self, topic: str) -> bool:
        """Tell whether there is such a topic; one that is not there is waited for a while."""


class Groups(Protocol):
    """Consumer groups, seen from outside."""

    def members(self, group: str) -> int:
        """Give how many members a group has; 0 as well if there is no such group."""

    def offsets(self, group: str) -> dict[Partition, int]:
        """Read a group's committed offsets, of the partitions that have one.

        What is in an open transaction is not waited for: a frontier may be further on already,
        and is never behind.

        Raises:
            RetriableError: The brokers are away.
        """

    def commit(self, group: str, frontiers: Mapping[Partition, Frontier]) -> None:
        """Set the offsets of a group that has no members.

        Raises:
            FatalError: It has some: nothing was set.
            RetriableError: The brokers are away.
        """


class Log(Protocol):
    """The log itself, read outside of any group: for recovery."""

    def frontiers(self, topic: str) -> dict[int, Frontier | None]:
        """Read the group's committed offsets of all partitions with a stable read.

        One that was committed for a deleted topic of that name counts as none.
        """

    def window_starts(self, topic: str, seconds: int) -> dict[int, int]:
        """Give the first offset of each partition that is as new as this log time."""

    def log_time(self, topic: str, frontiers: Mapping[int, int]) -> int:
        """Give the log time in seconds that the group has come to, the lowest by partition."""

    def read(
        self, topic: str, partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Message]]:
        """Read a stretch of a partition, committed records only, in batches.

        Args:
            topic: The topic's name.
            partition: The partition's number.
            offsets: What to read.
            to_end: Wait for transactions that are open in it; else it ends where they begin.

        Raises:
            RetriableError: The brokers are away, or such a transaction does not end.
        """

    def close(self) -> None:
        """Give the connection back."""
