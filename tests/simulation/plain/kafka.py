"""The Kafka of the model: logs, a group, committed offsets, dead letters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from eos.core.errors import AbortableError
from eos.core.frontier import Frontier


class Entry(NamedTuple):
    """One record of the input topic.

    Attributes:
        partition: The partition's number.
        offset: The offset in it.
        key: The idempotency key; None for a record without one.
    """

    partition: int
    offset: int
    key: int | None

    def __str__(self) -> str:
        """Give where it stands and which key it has."""
        return f"p{self.partition}@{self.offset}={self.key}"

    @property
    def effect(self) -> str:
        """Name what is to happen once: a key, or a position that has none."""
        return f"key {self.key}" if self.key is not None else str(self)


class Kafka:
    """Everything here is safe from loss: the log is the truth.

    Args:
        committed: What the group had committed before the history, by partition. A log begins
            where that stands.
        starts: Where each log begins.
        accuse: Told of broken promises.
    """

    def __init__(
        self,
        committed: list[Frontier | None],
        starts: list[int],
        accuse: Callable[[str], None],
    ) -> None:
        self.committed = committed
        self.starts = starts
        self.accuse = accuse
        self.log: list[list[Entry]] = [[] for _ in starts]
        self.ends = list(starts)
        self.decided: list[set[int]] = [set() for _ in starts]
        """Offsets that were handled, suppressed, skipped or rejected by somebody."""
        self.letters: list[Entry] = []
        self.generation = 0
        self.assignment: dict[str, list[int]] = {}

    def append(self, partition: int, key: int | None, *, gap: bool) -> Entry:
        """Append a record, after a marker of the producer's transaction or not."""
        entry = Entry(partition, self.ends[partition] + gap, key)
        self.log[partition].append(entry)
        self.ends[partition] = entry.offset + 1
        return entry

    def rebalance(self, members: Iterable[str], turn: int) -> None:
        """Begin a generation: partitions are dealt out in turn."""
        self.generation += 1
        self.assignment = {member: [] for member in members}
        names = list(self.assignment)
        for partition in range(len(self.log)):
            self.assignment[names[(partition + turn) % len(names)]].append(partition)

    def commit(self, member: str, generation: int, frontiers: Mapping[int, Frontier]) -> None:
        """Commit offsets. The coordinator checks the generation, not who owns the partition."""
        self._fence(member, generation)
        for partition, frontier in frontiers.items():
            self.check(partition, frontier.offset, "committed")
            self.committed[partition] = frontier

    def transact(
        self,
        member: str,
        generation: int,
        frontiers: Mapping[int, Frontier],
        letters: Sequence[Entry],
    ) -> None:
        """Publish dead letters together with the offsets."""
        self._fence(member, generation)
        for letter in letters:
            self.decided[letter.partition].add(letter.offset)
        self.letters += letters
        self.commit(member, generation, frontiers)

    def _fence(self, member: str, generation: int) -> None:
        if generation != self.generation or member not in self.assignment:
            raise AbortableError("the group has another generation", "transaction")

    def check(self, partition: int, offset: int, what: str) -> None:
        """See that nothing below a frontier is undecided."""
        decided = self.decided[partition]
        for entry in self.log[partition]:
            if entry.offset >= offset:
                return
            if entry.offset not in decided:
                self.accuse(f"early: {entry} was {what}, and nobody had handled or suppressed it")
