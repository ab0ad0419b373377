"""What the steps ask of the world. Adapters in `kafka` and `stores` answer.

An adapter's method is one network call that makes no choice of its own. A server that is away
is a `RetriableError`; everything that is a normal answer is a value.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from eos.core.frontier import Frontier
from eos.core.record import Headers, Message, Shard
from eos.core.rules import Admission, Owner, Verdict

Partition = tuple[str, int]
"""A topic's name and a partition's number."""


class Clock(Protocol):
    """Tells the time; the module `time` is one."""

    def time(self) -> float:
        """Give the seconds since the epoch."""

    def monotonic(self) -> float:
        """Give seconds from any start, which only go forward."""


Revoking = Callable[[Collection[Partition]], None]
"""Told of partitions that are about to be given back, while they are still ours. Never raises."""


# --- ledger -------------------------------------------------------------------------------


@dataclass(slots=True)
class Claims:
    """The claims of one partition in one batch; the lists run side by side, in offset order.

    Attributes:
        partition: The partition's number.
        epoch: The epoch under which the caller took the partition.
        frontier: The first offset that is not settled, as far as the caller knows.
        start: Where the reading of this batch began.
        end: Where it ended, one past its last offset.
        begun: Plain tier: one past the highest offset that may begin once this claim is
            answered; 0 marks nothing.
        offsets: The records' offsets, in rising order. A record without a key may be left out:
            it is FRESH, or SETTLED below the floor.
        digests: Keyed digests of the idempotency keys, 12 bytes each; b"" for no key.
        fingerprints: 32-bit fingerprints of the payloads.
        times: The records' own time stamps, seconds since the epoch.
    """

    partition: int
    epoch: int
    frontier: int
    start: int
    end: int
    begun: int = 0
    offsets: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)


class Known(NamedTuple):
    """What the ledger knew of a partition before a batch of claims.

    Attributes:
        floor: The highest frontier that it was told, this batch's included.
        begun: Plain tier: one past the highest offset that may have begun before.
    """

    floor: int
    begun: int


class Mark(NamedTuple):
    """How far a partition has come, as whoever took it over under this epoch says.

    Attributes:
        partition: The partition's number.
        epoch: The epoch of the take-over.
        offset: One past the last offset concerned.
    """

    partition: int
    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a batch of claims that was admitted.

    Attributes:
        seal: The seal under which the claims were made; `Ledger.confirm` asks for it.
        verdicts: One per record, in the order of the claims given.
        owners: The owner behind each verdict that is DUPLICATE or CONFLICT, by index.
        known: What was known of each partition of the batch before it.
        hearsay: Plain tier: which of `owners` stand below where the log ended when the ledger
            was last opened (`begun` of `Ledger.open`): they may have been suppressed before
            that, in favour of a record whose owner was lost.
    """

    seal: str
    verdicts: list[Verdict]
    owners: dict[int, Owner]
    known: Mapping[int, Known] = field(default_factory=dict)
    hearsay: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a batch of claims that was not admitted: nothing was written.

    Attributes:
        why: CLOSED, FENCED or GAP.
        partition: The first partition that was refused; -1 for CLOSED.
    """

    why: Admission
    partition: int = -1


@dataclass(frozen=True, slots=True)
class Taken:
    """A partition as the ledger knows it at a take-over.

    Attributes:
        epoch: The new epoch, which fences all earlier ones.
        claimed: One past the highest offset claimed; 0 if none.
        floor: The highest frontier the ledger was told; 0 if none.
        begun: Plain tier: one past the highest offset that may have begun; 0 if none.
        previous: The newest epoch before this one, as far as the ledger remembers; 0 if none.
    """

    epoch: int
    claimed: int
    floor: int
    begun: int = 0
    previous: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """The right to recover a shard, held by one worker for a bounded time.

    Attributes:
        token: Names the holder.
        identity: What the recovery runs against: the ledger's server, and this holding of the
            lock. Whoever prolongs the lock goes on with the `Recovery` that he began with.
        sealed: Whether the shard has a seal of that identity now: then only single partitions
            need to be recovered.
        claimed: One past the highest offset claimed, by partition.
    """

    token: str
    identity: str
    sealed: bool
    claimed: Mapping[int, int]


@dataclass(slots=True)
class Assertion:
    """Owners that recovery puts back: a stretch of one partition; the lists run side by side.

    Attributes:
        partition: The partition's number.
        end: One past the last offset of the stretch: it counts as claimed up to here.
        offsets: The records' offsets.
        digests: Keyed digests, 12 bytes each; b"" for no key.
        fingerprints: 32-bit fingerprints of the payloads.
        times: The records' own time stamps, seconds since the epoch.
    """

    partition: int
    end: int
    offsets: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)


class Ledger(Protocol):
    """Idempotency key → owner, for each shard. May lose anything at any moment.

    Every method is atomic, and raises `RetriableError` if the server is away.
    """

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over: bump their epochs. Works on a closed shard too."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records, all or nothing, by the rules of `eos.core.rules`."""

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal is still the one that claims were made under."""

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Plain tier: note that the records below the mark may begin.

        Returns:
            False, with nothing written, if the seal is not the one, or a newer epoch exists.
        """

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Plain tier: move frontiers on, all or none of them; never back.

        Args:
            shard: The shard.
            seal: The seal under which the records were claimed.
            marks: The frontier of each partition.

        Returns:
            OPEN if it is written; CLOSED if the seal is not the one; FENCED if a newer epoch
            exists of one of the partitions.
        """

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        """Take floors, and what has begun, back to where a replay begins; never forward.

        Whoever calls this announces that records are to be handled again. Owners stay.

        Returns:
            False, with nothing written, if a newer epoch exists of one of the partitions.
        """

    def lock(self, shard: Shard, token: str, seconds: float) -> Recovery | None:
        """Take, or hold on to, the recovery lock; None while somebody else holds it."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back, and count the stretch as claimed.

        Returns:
            False, with nothing written, if the lock or the identity is lost.
        """

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
    ) -> bool:
        """Seal the shard anew, record the frontiers as floors, and give the lock back.

        A shard that is sealed already under this identity keeps its seal.

        Args:
            shard: The shard.
            recovery: The right to do so.
            frontiers: The first offset that is not settled, by partition.
            begun: Plain tier: the log's ends, which is one past the last offset that may have
                been handled and not been settled, by partition; owners below are hearsay from
                now on. Empty in the other tiers.

        Returns:
            False, with nothing written, if the lock or the identity is lost.
        """

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        """Tell how far partitions have come in log time, and drop what no window needs.

        Args:
            shard: The shard.
            frontier_times: Log time of the frontier in seconds, by partition. A partition that
                was read to its end counts as now.
            partitions: How many partitions the topic has; nothing is dropped before the times
                of all are known.

        Returns:
            How many generations are live.
        """

    def close(self) -> None:
        """Give the connections back."""


class Suppressed(NamedTuple):
    """A record that was claimed and not handled, as the audit keeps it.

    Attributes:
        partition: Its partition.
        offset: Its offset.
        digest: Keyed digest of its idempotency key.
        owner: In whose favour.
        verdict: DUPLICATE or CONFLICT.
        log_time: Its own time stamp, seconds since the epoch.
        source: Who sent it, if a header says so.
    """

    partition: int
    offset: int
    digest: bytes
    owner: Owner
    verdict: Verdict
    log_time: int
    source: str | None


# --- log ----------------------------------------------------------------------------------


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
        """Wait for up to `limit` messages, and serve rebalances."""

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

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this partition from here, and let it flow."""

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

    def ensure(self, names: Sequence[str]) -> None:
        """Make topics that do not exist yet."""


class Log(Protocol):
    """The log itself, read outside of any group: for recovery."""

    def frontiers(self, topic: str) -> dict[int, Frontier | None]:
        """Read the group's committed offsets of all partitions with a stable read."""

    def window_starts(self, topic: str, seconds: int) -> dict[int, int]:
        """Give the first offset of each partition that is as new as this log time."""

    def log_time(self, topic: str, frontiers: Mapping[int, int]) -> int:
        """Give the log time in seconds that the group has come to, the lowest by partition."""

    def read(self, topic: str, partition: int, offsets: range) -> Iterator[Sequence[Message]]:
        """Read a stretch of a partition, committed records only, in batches."""

    def close(self) -> None:
        """Give the connection back."""


# --- transactions -------------------------------------------------------------------------


class Transactions(Protocol):
    """A transactional producer, supervised. Belongs to one thread."""

    def prepare(self) -> None:
        """Have a producer that may begin; ends what a predecessor left open."""

    def begin(self) -> None:
        """Begin a transaction, with a new producer if the last one is tainted."""

    def produce(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        """Add a message to the transaction."""

    def send_offsets(self, frontiers: Mapping[Partition, Frontier], group_metadata: object) -> None:
        """Add the frontiers to the transaction, fenced by the group's generation (KIP-447)."""

    def commit(self) -> bool:
        """Commit.

        Returns:
            True if the transaction is known to be committed; False if nobody can say yet: then
            `settle_unknown`, after which the committed offsets tell.
        """

    def abort(self) -> None:
        """Abort what was begun; without a transaction, do nothing."""

    def abandon(self) -> None:
        """Let go of a producer that another thread hangs in; the next one fences it."""

    def settle_unknown(self) -> None:
        """Make the outcome of a transaction final, by a new producer under the same id."""

    def close(self) -> None:
        """Give the producer up."""


# --- databases ----------------------------------------------------------------------------


class Effects(Protocol):
    """One transaction of a database: effects, and the frontiers that go with them.

    Every method raises `RetriableError` if the transaction cannot go on (a server is away, a
    deadlock, a serialization failure), and `FatalError` if trying again cannot help.
    """

    db: Any
    """What handlers are given."""

    def lock(self, shard: Shard, partition: int, start: int) -> bool:
        """Keep others from moving a frontier until the end; False if it is not at `start`."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed:
        """Claim keys that this same database keeps, by the rules of `eos.core.rules`.

        They are claimed if the transaction commits, and were never claimed if it does not: there
        is nothing to confirm. Who claims a key that another transaction is claiming waits for its
        end. The rows of the partitions are locked by then.
        """

    def note(self, shard: Shard, suppressed: Sequence[Suppressed]) -> None:
        """Write down what is settled without being handled."""

    def guard(self) -> None:
        """Let handlers begin: `undo` goes back to here, and `check` looks for it."""

    def undo(self, error: Exception) -> None:
        """Undo what handlers did; locks and claims stay.

        Args:
            error: What they raised.

        Raises:
            AbortableError: It says that the transaction cannot go on.
            FatalError: They have ended the transaction.
        """

    def advance(self, shard: Shard, partition: int, start: int, frontier: Frontier) -> bool:
        """Move a frontier on.

        Returns:
            False, with nothing written, if it is not at `start`: somebody else moved it.
        """

    def savepoint(self) -> AbstractContextManager[object]:
        """Undo what is done inside, and that alone, if it raises."""

    def check(self) -> None:
        """See that the transaction is still the one that was begun.

        Raises:
            FatalError: The handler committed, or rolled back, by itself.
        """

    def commit(self) -> None:
        """Commit. After a `RetriableError` nobody knows whether it took place: the rows do."""

    def rollback(self) -> None:
        """Give it up; never raises."""


class Inbox(Protocol):
    """Frontiers in a database, beside the effects: rows, and not Kafka's offsets, are the truth."""

    joins: bool
    """Whether the ledger is this database: then claims are made in its transactions."""

    def check(self) -> None:
        """See that the tables are there.

        Raises:
            ConfigError: They are not, or are of another version.
        """

    def frontiers(self, shard: Shard, partitions: Collection[int]) -> dict[int, Frontier]:
        """Read rows, waiting for transactions that are changing them; those there are."""

    def create(self, shard: Shard, topic: str, starts: Mapping[int, Frontier]) -> None:
        """Make rows that are not there yet, and leave the others as they are."""

    def suppressed(self, shard: Shard, partition: int, offsets: range) -> Collection[int]:
        """Give the offsets in this range that the audit has."""

    def advance(
        self, shard: Shard, frontier_times: Mapping[int, int], partitions: int, window: int
    ) -> bool:
        """Tell how far partitions have come in log time, and forget keys that no window needs.

        Args:
            shard: The shard.
            frontier_times: As for `Ledger.advance`.
            partitions: As for `Ledger.advance`.
            window: For how long a key is kept, in seconds of log time.

        Returns:
            Whether there may be more to forget.
        """

    def begin(self) -> Effects:
        """Begin a transaction."""


NO_INBOXES: Mapping[str, Inbox] = MappingProxyType({})


Publish = Callable[[str, bytes | None, bytes | None, Headers], None]
"""Publishes a message outside of any transaction: topic, value, key, headers. Returns when the
brokers have it; raises `RetriableError` if nobody knows whether they do."""


@dataclass(slots=True)
class Ports:
    """The adapters of one worker."""

    reader: Reader
    topics: Topics
    log: Callable[[], Log]
    ledger: Ledger
    transactions: Transactions
    publish: Publish
    inbox: Callable[[Any], Inbox]
