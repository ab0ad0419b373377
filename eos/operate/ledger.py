"""What an operator asks a ledger: how it stands, and why a record was suppressed."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from eos.core.audit import Entry, read
from eos.core.frontier import Frontier
from eos.core.ports import Log, Suppressed, Topics
from eos.core.ports.inspection import (
    GenerationState,
    Inspection,
    LedgerState,
    PartitionState,
    Surgery,
)
from eos.core.record import Shard
from eos.core.rules import SUPPRESSED, Owner, Verdict

_NOTHING = PartitionState(0, 0, 0, 0)
NOBODY = "(nobody says)"


class PartitionStatus(NamedTuple):
    """How a partition stands.

    Attributes:
        number: Its number.
        frontier: The first offset that is not settled, as Kafka has it; None: nothing was.
        end: Where the log ends, open transactions included.
        known: What the ledger knows.
    """

    number: int
    frontier: int | None
    end: int
    known: PartitionState


class Status(NamedTuple):
    """How the ledger of a topic stands.

    Attributes:
        topic_id: The topic's id.
        ledger: What the ledger knows.
        partitions: The topic's partitions, and those that only the ledger knows.
    """

    topic_id: str
    ledger: LedgerState
    partitions: Sequence[PartitionStatus]


class Claimant(NamedTuple):
    """The owner of a key.

    Attributes:
        owner: Its position, and the fingerprint of its payload.
        settled: Whether it is settled; else it is being handled, or is to be.
        log_time: Its own time stamp, seconds since the epoch; None: it is not in the log any more.
        until: It is kept until all partitions have come to this log time; None: nobody knows.
        void: Whether the log lost it before it was handled: then it owns the key no more.
    """

    owner: Owner
    settled: bool
    log_time: int | None
    until: int | None
    void: bool


class Explanation(NamedTuple):
    """What became of a key.

    Attributes:
        claimants: Who owns it: one, or one for each partition where copies across partitions
            are other keys; none if nobody claimed it within the window.
        entries: What was suppressed in favour of it, in the order of the audit; `fresh` or `again`
            of a dead letter whose key the owner has taken over.
    """

    claimants: Sequence[Claimant]
    entries: Sequence[Entry]


class Inspect:
    """Looks at the ledger of a group.

    Args:
        ledger: The ledger.
        surgery: The same, to be broken.
        topics: Describes topics.
        log: Reads offsets, and the audit.
        shard: Names the shard of a topic id.
        audit: The audit's topic.
        digests: Gives the digests that a key may have, for so many partitions.
    """

    def __init__(
        self,
        *,
        ledger: Inspection,
        surgery: Surgery,
        topics: Topics,
        log: Log,
        shard: Callable[[str], Shard],
        audit: str,
        digests: Callable[[str, int], Sequence[bytes]],
        window: int,
    ) -> None:
        self._ledger = ledger
        self._surgery = surgery
        self._topics = topics
        self._log = log
        self._shard = shard
        self._audit = audit
        self._digests = digests
        self._window = window

    def status(self, topic: str) -> Status:
        """Tell how the ledger of a topic stands.

        Raises:
            FatalError: There is no such topic.
            RetriableError: A server is away.
        """
        topic_id, count = self._topics.describe(topic)
        state = self._ledger.look(self._shard(topic_id))
        frontiers = self._log.frontiers(topic)
        ends = self._topics.ends([(topic, number) for number in range(count)])
        numbers = sorted({*range(count), *state.partitions})
        return Status(
            topic_id,
            state,
            [
                PartitionStatus(
                    number,
                    found.offset if (found := frontiers.get(number)) else None,
                    ends.get((topic, number), 0),
                    state.partitions.get(number, _NOTHING),
                )
                for number in numbers
            ],
        )

    def explain(self, topic: str, key: str) -> Explanation:
        """Tell who owns an idempotency key, and what was suppressed in favour of it.

        Raises as `status` does.
        """
        topic_id, count = self._topics.describe(topic)
        shard, digests = self._shard(topic_id), self._digests(key, count)
        owners = self._ledger.owners(shard, digests).values()
        frontiers, live = self._log.frontiers(topic), self._ledger.look(shard).generations
        entries, gaps = [], []
        for entry in self._entries(shard.group):
            if entry.topic_id == topic_id and entry.suppressed.verdict is Verdict.SETTLED:
                gaps.append(entry.suppressed)
            elif _is_of(entry, topic_id, digests):
                entries.append(entry)
        claimants = []
        for owner in sorted(owners):
            time = self._log_time(topic, owner)
            until = None if time is None else self._kept_until(time, live)
            void = any(_is_in(owner, gap) for gap in gaps)
            settled = _is_settled(owner, frontiers) and not void
            claimants.append(Claimant(owner, settled, time, until, void))
        return Explanation(claimants, entries)

    def unseal(self, topic: str) -> None:
        """Break the seal: the next worker that claims recovers. Raises as `status` does."""
        topic_id, _ = self._topics.describe(topic)
        self._surgery.unseal(self._shard(topic_id))

    def purge(self, topic: str | None, topic_id: str | None) -> bool:
        """Delete all that is known of a topic, by its name or id, and break the seal.

        Returns:
            False, with nothing deleted, if a worker recovers it now.

        Raises as `status` does.
        """
        if topic is not None:
            topic_id, _ = self._topics.describe(topic)
        return self._surgery.purge(self._shard(topic_id or ""))

    def sources(self, topic: str, most: int) -> list[tuple[str, int]]:
        """Tell who sends the duplicates of a topic, as a header of theirs says it.

        Returns:
            Name and number of suppressed records, the most first. Raises as `status` does.
        """
        topic_id, _ = self._topics.describe(topic)
        counted = Counter(
            entry.suppressed.source or NOBODY
            for entry in self._entries(self._shard(topic_id).group)
            if entry.topic_id == topic_id and entry.suppressed.verdict in SUPPRESSED
        )
        return sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:most]

    def _entries(self, group: str) -> Iterator[Entry]:
        """Read the audit; nothing if there is none: only the transaction tier keeps it there."""
        if not self._topics.exists(self._audit):
            return
        _, count = self._topics.describe(self._audit)
        ends = self._topics.ends([(self._audit, number) for number in range(count)])
        for (_, number), end in ends.items():
            for messages in self._log.read(self._audit, number, range(end)):
                for message in messages:
                    entry = read(message.value())
                    if entry is not None and entry.group == group:
                        yield entry

    def _kept_until(self, time: int, live: Sequence[GenerationState]) -> int | None:
        ends = [generation.ends for generation in live if generation.ends > time]
        return min(ends) + self._window if ends else None

    def _log_time(self, topic: str, owner: Owner) -> int | None:
        at = range(owner.offset, owner.offset + 1)
        for messages in self._log.read(topic, owner.partition, at):
            for message in messages:
                return int(message.timestamp()[1]) // 1000
        return None


def _is_of(entry: Entry, topic_id: str, digests: Collection[bytes]) -> bool:
    return entry.topic_id == topic_id and entry.suppressed.digest in digests


def _is_in(owner: Owner, gap: Suppressed) -> bool:
    return owner.partition == gap.partition and gap.offset <= owner.offset < gap.owner.offset


def _is_settled(owner: Owner, frontiers: Mapping[int, Frontier | None]) -> bool:
    found = frontiers.get(owner.partition)
    return found is not None and owner.offset < found.offset
