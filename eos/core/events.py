"""What happens on the line, told once and as it happened. Metrics and logs listen.

One event per batch or rarer: nothing is told record by record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eos.core.rules import Verdict


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch of one topic got its verdicts.

    Attributes:
        topic: The topic's name.
        verdicts: How many records got which verdict.
        same_partition: How many DUPLICATE had their owner on the same partition.
        unkeyed: How many carried no idempotency key.
    """

    topic: str
    verdicts: Mapping[Verdict, int]
    same_partition: int
    unkeyed: int


@dataclass(frozen=True, slots=True)
class Committing:
    """A transaction is about to begin, with this many records."""

    records: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction is committed.

    Attributes:
        records: How many input records it settled, the suppressed ones included.
        outputs: How many messages it published.
        seconds: How long it took from begin to the answer.
        resolved: True if the answer was lost and the committed offsets told.
    """

    records: int
    outputs: int
    seconds: float
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Aborted:
    """Work was given up and starts over from the frontier.

    Attributes:
        cause: A word from a closed set.
        records: How many claimed records were given up.
        detail: For the log.
    """

    cause: str
    records: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """A handler failed and is tried again."""

    topic: str
    attempt: int
    detail: str


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A record goes to the dead letter topic."""

    topic: str
    reason: str
    position: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A server is away: the partitions are paused."""

    on: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Assigned:
    """Partitions were opened after a rebalance."""

    partitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A shard of the ledger was rebuilt from the log.

    Attributes:
        topic: The topic's name.
        cause: `closed` or `gap`.
        records: How many records were read again.
        seconds: How long it took.
    """

    topic: str
    cause: str
    records: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ProducerRecreated:
    """A producer was replaced under its transactional id."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lived:
    """The ledger was told how far the log has come."""

    topic: str
    generations: int


Event = (
    Claimed
    | Committing
    | Committed
    | Aborted
    | Retried
    | DeadLettered
    | Waiting
    | Assigned
    | Recovered
    | ProducerRecreated
    | Lived
)

Emit = Callable[[Event], None]
