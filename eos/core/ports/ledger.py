"""The ledger: idempotency key → owner."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eos.core.record import Shard
from eos.core.rules import Admission, Owner, Verdict


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
        floors: The highest frontier that the ledger was told, by partition: what stands below
            was settled when it was told, and its owners are here, whatever the ledger has lost.
    """

    token: str
    identity: str
    sealed: bool
    claimed: Mapping[int, int]
    floors: Mapping[int, int] = field(default_factory=dict)


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
        settled: All of it is settled, and the audit was read: then these are facts, which
            overrule owners that the ledger has (`rules.restored`), and the stretch counts as
            told of, so that whoever goes on with the recovery begins behind it. Otherwise only
            keys without an owner get one (`rules.reasserts`).
        audited: The offsets that the audit has: suppressed, and so no owners.
    """

    partition: int
    end: int
    offsets: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    settled: bool = False
    audited: Container[int] = frozenset()


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
