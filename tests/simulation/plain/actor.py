"""What a worker of the model asks of the world: one atomic call at a time.

A `yield` is a place where anything may happen: others act, the actor hangs for long, or it dies.
What stands between two of them is one atomic step.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar

from eos.core.errors import RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Assertion, Claimed, Claims, Mark, Recovery, Refused, Taken
from eos.core.rules import Admission
from tests.simulation.plain.kafka import Entry, Kafka
from tests.simulation.plain.ledger import SHARD, LaxLedger
from tests.simulation.plain.switches import Switches

LOCK_SECONDS = 40.0

T = TypeVar("T")
Steps = Generator[None, None, T]


class Fate(Enum):
    """What becomes of a request."""

    FINE = "fine"
    ANSWER_LOST = "answer lost"
    LOST = "lost"
    LATE = "late"


class Passed(NamedTuple):
    """When the ledger let a record pass: with its claim, and with the mark that it begins."""

    claimed: int
    marked: int


class World(Protocol):
    """What a worker sees of the world."""

    on: Switches
    kafka: Kafka
    ledger: LaxLedger
    now: int
    policy: str
    interval: int

    def fate(self) -> Fate:
        """Decide what becomes of a request."""

    def delay(self, what: str, request: Callable[[], object]) -> None:
        """Deliver a request at some time after its sender gave up, or never."""

    def chance(self, probability: float) -> bool:
        """Throw a coin."""

    def below(self, n: int) -> int:
        """Choose a number from 0 to n - 1."""

    def hands_out(
        self, entry: Entry, in_doubt: bool, token: int, passed: Passed
    ) -> Callable[[], None]:
        """Note that a handler gets a record; what is returned is its effect."""

    def had_its_effect(self, entry: Entry) -> bool:
        """Tell the truth about a record's effect, as of now."""

    def failed(self) -> None:
        """Note that a record may stay in doubt: a handler raised, or a mark got no answer."""

    def announced(self, partition: int, offset: int) -> None:
        """Note that the user asked for a replay."""

    def tell(self, who: str, what: str, *values: object) -> None:
        """Tell the story."""


class Wire:
    """The network between a worker and the ledger: requests and answers get lost on it."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def take(self, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over."""
        return self._send("take", lambda: self._world.ledger.take(SHARD, partitions))

    def claim(self, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch."""
        return self._send("claim", lambda: self._world.ledger.claim(SHARD, batch))

    def begin(self, seal: str, mark: Mark) -> bool:
        """Mark what begins."""
        return self._send("begin", lambda: self._world.ledger.begin(SHARD, seal, mark))

    def settle(self, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on."""
        return self._send("settle", lambda: self._world.ledger.settle(SHARD, seal, marks))

    def rewind(self, marks: Sequence[Mark]) -> bool:
        """Take frontiers back."""
        return self._send("rewind", lambda: self._world.ledger.rewind(SHARD, marks))

    def lock(self, token: str) -> Recovery:
        """Take, or hold on to, the recovery lock."""
        ledger = self._world.ledger
        held = self._send("lock", lambda: ledger.lock(SHARD, token, LOCK_SECONDS))
        if held is None:
            raise RetriableError("another worker recovers", "recovery")
        return held

    def reassert(self, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back."""
        ledger = self._world.ledger
        return self._send("reassert", lambda: ledger.reassert(SHARD, recovery, assertion))

    def open(
        self, recovery: Recovery, frontiers: Mapping[int, int], begun: Mapping[int, int]
    ) -> bool:
        """Seal anew."""
        ledger = self._world.ledger
        return self._send("open", lambda: ledger.open(SHARD, recovery, frontiers, begun))

    def commit(self, generation: int, frontiers: Mapping[int, Frontier]) -> None:
        """Commit offsets to Kafka."""
        kafka, name = self._world.kafka, self._name
        self._send("commit", lambda: kafka.commit(name, generation, frontiers))

    def transact(
        self, generation: int, frontiers: Mapping[int, Frontier], letters: Sequence[Entry]
    ) -> None:
        """Publish dead letters with offsets; what is unknown is found out (`_resolve`)."""
        kafka, name = self._world.kafka, self._name
        if self._world.fate() in {Fate.LOST, Fate.LATE}:
            raise RetriableError("the transaction was aborted")
        kafka.transact(name, generation, frontiers, letters)

    def _send(self, what: str, request: Callable[[], T]) -> T:
        """Ask once. What was lost on the way may still arrive."""
        fate = self._world.fate()
        if fate is Fate.FINE:
            return request()
        self._world.tell(self._name, "gets no answer to its {} ({})", what, fate.value)
        if fate is Fate.ANSWER_LOST:
            request()
        elif fate is Fate.LATE:
            self._world.delay(f"{self._name}'s {what}", request)
        raise RetriableError(f"no answer to {what}", "ledger")
