"""What acts in the model: one atomic call at a time.

A `yield` is a place where anything may happen: others act, the actor is paused for long, or it
dies. What stands between two of them is one atomic step.
"""

import random
from collections.abc import Callable, Generator
from enum import Enum
from typing import Protocol, TypeVar

from eos.core.frontier import Frontier
from tests.simulation.kafka import Kafka, Record
from tests.simulation.ledger import Ledger
from tests.simulation.switches import Switches

PATIENCE = 60
"""For how many steps of the world a read waits for open transactions: one may be our own."""

T = TypeVar("T")
Steps = Generator[None, None, T]


class Fate(Enum):
    """What becomes of a request."""

    FINE = "fine"
    ANSWER_LOST = "answer lost"
    LATE = "late"


class Die:
    """Random numbers from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        """Decide what happens in this share of all cases."""
        return self.random.random() < share

    def below(self, n: int) -> int:
        """Choose a number from 0 to n - 1."""
        return int(self.random.random() * n)


class World(Protocol):
    """What an actor sees of the world."""

    on: Switches
    kafka: Kafka
    ledger: Ledger
    now: int

    def fate(self) -> Fate:
        """Decide what becomes of a request."""

    def delay(self, what: str, request: Callable[[], object]) -> None:
        """Deliver a request at some time after its sender gave up, or never."""

    late: list[tuple[str, Callable[[], object]]]
    """Requests that are on their way."""
    healing: bool
    """Whether no more faults come."""
    die: Die
    """Decides what operators do."""

    def fails(self) -> bool:
        """Decide whether a handler fails for good."""

    def window_start(self, partition: int, frontier: int) -> int:
        """Give where the window begins, for a group that has come to here."""

    def stop_workers(self) -> None:
        """Let the group have no members; one may live on that was thought dead."""

    def start_workers(self) -> None:
        """Start them again."""

    def appended(self, record: Record) -> None:
        """Hear that a record came into the log."""

    def below(self, n: int) -> int:
        """Choose a number from 0 to n - 1."""

    def token(self) -> int:
        """Give a number that is used once."""

    def tell(self, who: str, what: str, *values: object) -> None:
        """Tell the story."""


class Rewind(Exception):  # noqa: N818 - not an error
    """Drop everything pending and begin again at the frontier."""

    def __init__(self, why: str, *, keeps_lanes: bool = False, waits: bool = False) -> None:
        super().__init__(why)
        self.keeps_lanes = keeps_lanes
        self.waits = waits


class Actor:
    """A member of the group, as far as its client library takes it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.generation = 0
        """The generation that the client joined, in the background of what the actor does."""
        self.assigned: dict[int, int] = {}
        """The number of each partition's assignment: it changes when the partition was lost."""
        self.token = world.token()
        """One for all its tries to recover."""

    def tell(self, what: str, *values: object) -> None:
        """Tell the story."""
        self.world.tell(self.name, what, *values)

    def send(self, what: str, request: Callable[[], T]) -> T | None:
        """Ask the ledger once. What was lost on the way may still arrive."""
        fate = self.world.fate()
        if fate is Fate.FINE:
            return request()
        self.tell("gets no answer to its {}", what)
        if fate is Fate.ANSWER_LOST:
            request()
        else:
            self.world.delay(f"{self.name}'s {what}", request)
        return None

    def call(self, what: str, request: Callable[[], T]) -> Steps[T]:
        """Ask the ledger until it answers."""
        while True:
            yield
            answer = self.send(what, request)
            if answer is not None:
                return answer

    def frontier(self, partition: int, *, stable: bool) -> Steps[Frontier]:
        """Read a committed offset; a stable read waits for open transactions."""
        yield
        kafka = self.world.kafka
        if stable:
            yield from self.wait_for(lambda: not kafka.unstable[partition])
        return kafka.committed[partition]

    def wait_for(self, settled: Callable[[], bool]) -> Steps[None]:
        """Wait for transactions to end, for a while."""
        deadline = self.world.now + PATIENCE
        while not settled():
            if self.world.now > deadline:
                raise Rewind("a transaction stays open")
            yield
