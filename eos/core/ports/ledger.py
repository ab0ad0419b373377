"""The ledger: idempotency key → owner."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eos.core.leases import WHOLE
from eos.core.record import Shard
from eos.core.rules import Admission, Gap, Owner, Verdict


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
        redriven: Partition and offset at which records were dead-lettered that were published
            again, by their place in the lists (`rules.verdict`). Most batches have none.
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
    redriven: dict[int, tuple[int, int]] = field(default_factory=dict)


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
    """The right to recover a shard, or a partition of it, held by one worker for a bounded time.

    Attributes:
        token: Names the holder.
        identity: What the recovery runs against: the ledger's server, and the stamp of this
            recovery, which all who share it have in common. Whoever prolongs his lease goes on
            with the `Recovery` that he began with.
        sealed: Whether the shard has a seal of that identity now: then only single partitions
            need to be recovered.
        claimed: One past the highest offset claimed, by partition.
        floors: The highest frontier that the ledger was told, by partition: what stands below
            was settled when it was told, and its owners are here, whatever the ledger has lost.
        partition: What is held: a partition, or the shard as a `WHOLE`; None: nothing.
        done: The partitions of which this recovery has put everything back.
    """

    token: str
    identity: str
    sealed: bool
    claimed: Mapping[int, int]
    floors: Mapping[int, int] = field(default_factory=dict)
    partition: int | None = WHOLE
    done: frozenset[int] = frozenset()


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
        floor: Where it is settled: the frontier, if it stands below `end`, or `end`. While what
            was settled is handled again, owners stand above the frontier, too.
        done: It is the last one of the partition that the recovery holds: nothing of it is left
            to be put back.
        audited: The offsets that the audit has: suppressed, and so no owners.
        redriven: As in `Claims`; of two positions of which neither is known to be settled it says
            which one comes after the other (`rules.reasserts`).
        gaps: Offsets of the partition at which nothing is delivered any more (`Ledger.void`).
    """

    partition: int
    end: int
    offsets: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    settled: bool = False
    audited: Container[int] = frozenset()
    redriven: dict[int, tuple[int, int]] = field(default_factory=dict)
    floor: int = 0
    gaps: Sequence[Gap] = ()
    done: bool = False


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

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        """Note that nothing is delivered any more from `start` up to a mark.

        Who owns a key there owns it no more (`rules.verdict`), and what stands there counts as
        claimed. Claims that were answered before may still heed such an owner: whoever must know
        of them breaks the seal after this (`unseal`).

        Returns:
            False, with nothing written, if a newer epoch exists.
        """

    def unseal(self, shard: Shard) -> None:
        """Let nobody claim before the shard was recovered."""

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        """Take, or hold on to, the shard as a whole, or a partition of it, to recover it.

        Args:
            shard: The shard.
            token: Names the caller.
            seconds: For how long he holds it, unless he asks again.
            partitions: Join those who recover a shard that is closed, and take the first of these
                partitions that is neither done nor held by somebody else. A shard that is open is
                left alone: the answer says so. None: the shard as a whole, be it open or not.

        Returns:
            None while somebody else holds the shard as a whole, or, if that is asked for, anything
            of it. See `leases.lease`.
        """

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back, and count the stretch as claimed.

        Returns:
            False, with nothing written, if what the recovery held or the identity is lost.
        """

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        """Seal the shard anew, record the frontiers as floors, and end the recovery.

        A shard that is sealed already under this identity keeps its seal. One that was opened by
        this very recovery is left as it is.

        Args:
            shard: The shard.
            recovery: The right to do so.
            frontiers: The first offset that is not settled, by partition.
            begun: Plain tier: the log's ends, which is one past the last offset that may have
                been handled and not been settled, by partition; owners below are hearsay from
                now on. Empty in the other tiers.
            partitions: How many partitions the topic has, where they were shared: all of them must
                be done. 0: the recovery holds the shard as a whole.

        Returns:
            False, with nothing written, if they are not all done, or if the shard or the identity
            is lost.
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
