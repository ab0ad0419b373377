"""What happens on the line, told once and as it happened. Metrics and logs listen.

One event per batch or rarer: nothing is told record by record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eos.core.rules import Verdict


class Tally(NamedTuple):
    """Records of one topic, counted.

    Attributes:
        topic: The topic's name.
        verdicts: How many records got which verdict.
        same_partition: How many DUPLICATE had their owner on the same partition.
    """

    topic: str
    verdicts: Mapping[Verdict, int]
    same_partition: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch of one topic got its verdicts.

    Attributes:
        tallies: The verdicts; the records are in flight from now on.
        topic: The topic's name.
        unkeyed: How many carried no idempotency key.
        in_doubt: Plain tier: how many may have had their effect before.
        unchecked: How many were let through because the ledger was away.
    """

    tallies: Sequence[Tally]
    topic: str
    unkeyed: int
    in_doubt: int = 0
    unchecked: int = 0


class DeadLettered(NamedTuple):
    """A record went to the dead letter topic."""

    topic: str
    reason: str
    position: str


@dataclass(frozen=True, slots=True)
class Committing:
    """A transaction is about to begin, with this many records."""

    records: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction is committed.

    Attributes:
        tallies: The input records that it settled, the suppressed ones included.
        letters: The dead letters in it.
        outputs: How many messages it published.
        seconds: How long it took from begin to the answer.
        resolved: True if the answer was lost and the committed offsets told.
    """

    tallies: Sequence[Tally]
    letters: Sequence[DeadLettered]
    outputs: int
    seconds: float
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """Plain and inbox tier: frontiers were moved on.

    Attributes:
        tallies: The input records that settled, the suppressed ones included.
        letters: Those of them that became dead letters.
    """

    tallies: Sequence[Tally]
    letters: Sequence[DeadLettered] = ()


@dataclass(frozen=True, slots=True)
class Aborted:
    """Work was given up and starts over from the frontier.

    Attributes:
        cause: A word from a closed set.
        records: How many claimed records were given up.
        detail: For the log.
        committing: Whether a transaction was begun for some of them.
        left: How many claimed records are in flight all the same: a loop of the user's may still
            settle what it was handed.
    """

    cause: str
    records: int
    detail: str = ""
    committing: bool = False
    left: int = 0


@dataclass(frozen=True, slots=True)
class Retried:
    """A handler failed and is tried again.

    Attributes:
        topic: The topic of the record.
        attempt: Which try that was, from 1.
        detail: For the log.
        given_back: How many claimed records are read again because of it.
    """

    topic: str
    attempt: int
    detail: str
    given_back: int = 0


@dataclass(frozen=True, slots=True)
class GivenAway:
    """A partition went to another member while its handler was busy.

    Attributes:
        topic: Its topic.
        partition: Its number.
        given_back: How many claimed records of it are left to the other one.
    """

    topic: str
    partition: int
    given_back: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A server is away, or something is in the way: the partitions are paused."""

    on: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Partitions were opened after a rebalance."""

    partitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Halted:
    """Partitions wait for a decision of an operator; told again while they do.

    Attributes:
        topic: The topic's name.
        partitions: Their numbers; empty: none does any more.
        detail: Why, and what to do.
    """

    topic: str
    partitions: tuple[int, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """The log has let go of records before they were handled.

    Attributes:
        topic: The topic's name.
        partition: The partition's number.
        offsets: Which. Some of them may have held no record, but the mark of a transaction.
        cause: `retention` or `compaction`.
        redriven: How many copies were published again that had been suppressed in their favour.
        gone: How many such copies are not in the log any more, either.
    """

    topic: str
    partition: int
    offsets: range
    cause: str
    redriven: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Recovering:
    """A shard of the ledger is being rebuilt from the log; told every few seconds.

    Attributes:
        topic: The topic's name.
        left: How many offsets are still to be read again, by whoever takes part; 0: none, or it
            was given up here.
    """

    topic: str
    left: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """A shard of the ledger was rebuilt from the log, or this worker's share of it was.

    Attributes:
        topic: The topic's name.
        cause: `closed` or `gap`.
        records: How many records were read again here.
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


@dataclass(frozen=True, slots=True)
class Pushed:
    """The sidecar has pushed events of one partition to the app.

    Attributes:
        topic: Their topic.
        fates: How many met with which fate, by a word from a closed set.
        seconds: How long each call took.
        away: Whether the app is taken to be away now.
    """

    topic: str
    fates: Mapping[str, int]
    seconds: Sequence[float]
    away: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The sidecar has answered a call that asked it to publish.

    Attributes:
        topic: Where to; empty where that is no topic it publishes to.
        status: The answer's status.
        seconds: How long the call took.
    """

    topic: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Published:
    """A batch of the outbox is in Kafka.

    Attributes:
        shard: Whose rows.
        rows: How many.
        seconds: How long its transaction took, from begin to the answer.
        waited: For how long the oldest of the rows had been in the outbox by then, in seconds.
    """

    shard: int
    rows: int
    seconds: float
    waited: float


@dataclass(frozen=True, slots=True)
class RowBuried:
    """A row of the outbox was put aside: Kafka will not take it.

    Attributes:
        shard: Whose row.
        reason: A word from a closed set.
        detail: For the log.
    """

    shard: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ShardOpened:
    """A relay has taken over a shard of the outbox."""

    shard: int


@dataclass(frozen=True, slots=True)
class ShardStopped:
    """A relay has given up a shard of the outbox for now, or for good.

    Attributes:
        shard: Which one.
        cause: As of `Aborted`, or `server_away`; `fenced`: another relay has taken it over.
        detail: For the log.
    """

    shard: int
    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class ShardClosed:
    """A relay has given a shard of the outbox back in order: to the group, or because it leaves."""

    shard: int


@dataclass(frozen=True, slots=True)
class OutboxCounted:
    """What waits in the outbox was counted: see `eos.core.ports.Backlog`.

    One relay counts. When another one takes its place, it tells zeros, once.
    """

    rows: int
    oldest: float
    scheduled: int
    dead: int


Event = (
    Claimed
    | Committing
    | Committed
    | Settled
    | Aborted
    | Retried
    | GivenAway
    | Waiting
    | Assigned
    | Halted
    | Lost
    | Recovering
    | Recovered
    | ProducerRecreated
    | Lived
    | Published
    | Answered
    | Pushed
    | RowBuried
    | ShardOpened
    | ShardStopped
    | ShardClosed
    | OutboxCounted
)

Emit = Callable[[Event], None]
