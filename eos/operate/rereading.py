"""What recovery reads again, and what it puts back of that."""

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from eos.claim.keys import Identify
from eos.consume.lanes import record_of
from eos.core.events import Emit, Recovering
from eos.core.frontier import Frontier
from eos.core.ports import Assertion, Audited, Inbox, Log, Recovery, Topics
from eos.core.record import Message, Shard
from eos.core.rules import Verdict, reread
from eos.operate.audit import audited

TELL_SECONDS = 2.0


class Reading(NamedTuple):
    """What is read again of a topic.

    Attributes:
        topic: Its name.
        shard: Its shard.
        ranges: The offsets, by partition.
        since: They are no older than this log time, in seconds.
        frontiers: The first offset of each partition that is not settled.
        replayed: What was settled once, and is handled again.
        settled: Whether they are facts (`rules.restored`).
        begun: Plain tier: how far records may have been handled that are not settled.
    """

    topic: str
    shard: Shard
    ranges: Mapping[int, range]
    since: int
    frontiers: Mapping[int, int]
    replayed: Mapping[int, range]
    settled: bool
    begun: Mapping[int, int]

    def known(self, recovery: Recovery) -> Mapping[int, int]:
        """Give up to where nothing has to be read again.

        The ledger may be an old one that was put back: then only what it was told is true, and
        not even that where it is from before a replay: the floor was higher then.
        """
        return _floors(recovery, self.frontiers) if self.settled else recovery.claimed

    def rest(self, partition: int, known: Mapping[int, int]) -> range:
        """Give what is left of a partition when the ledger knows so much of it."""
        offsets = self.ranges.get(partition, range(0))
        return reread(known.get(partition, 0), offsets.stop, offsets.start)

    def left(self, done: Container[int], known: Mapping[int, int]) -> int:
        """Give how many offsets are left of all partitions that are not done."""
        return sum(len(self.rest(p, known)) for p in self.ranges if p not in done)

    def end_of(self, partition: int, audited: Audited) -> Assertion:
        """Give what says that all of a partition was put back.

        Its frontier is told with it, so that the one who opens the shard need not tell it: he may
        have read another one, up to which nothing was put back.
        """
        frontier = self.frontiers.get(partition, 0)
        gaps = audited.gaps
        return Assertion(partition, frontier, settled=True, floor=frontier, done=True, gaps=gaps)


class Rereader:
    """Reads records again, and says what is to be put back of them.

    Args:
        topics: Describes topics.
        identify: Reads and digests idempotency keys.
        plain: The topics whose effects lie outside of Kafka.
        inboxes: The databases of those topics whose frontiers are rows.
        audit: The topic in which it is written what was suppressed, where it is no database.
        window: How far back to read, seconds of log time.
        emit: Told how much is left.
    """

    def __init__(
        self,
        *,
        topics: Topics,
        identify: Identify,
        plain: Container[str],
        inboxes: Mapping[str, Inbox],
        audit: str,
        window: int,
        emit: Emit,
    ) -> None:
        self._topics = topics
        self._identify = identify
        self._plain = plain
        self._inboxes = inboxes
        self._audit = audit
        self._window = window
        self._emit = emit

    def plan(
        self, shard: Shard, recovery: Recovery, log: Log, topic: str, begins: Mapping[int, int]
    ) -> Reading:
        """Give what is to be read again. What is done in the recovery is left out."""
        # Of all partitions, with stable reads: a copy may stand on any of them, and a commit
        # that is under way may yet settle it.
        committed = log.frontiers(topic)
        frontiers = {p: found.offset for p, found in committed.items() if found is not None}
        if inbox := self._inboxes.get(topic):
            # Rows, and not Kafka's offsets. What locks them is waited for: it may yet commit.
            rows = inbox.frontiers(shard, committed)
            frontiers |= {partition: row.offset for partition, row in rows.items()}
        # What is handled again was settled once: its owners are facts as well.
        replayed = {
            p: range(frontiers[p], found.replay.peak)
            for p, found in committed.items()
            if found is not None and found.replay is not None
        }
        begun = {} if recovery.sealed else self._begun(topic, committed)
        plain = topic in self._plain
        known = recovery.claimed if plain else _floors(recovery, frontiers)
        since = log.log_time(topic, frontiers) - self._window
        starts = log.window_starts(topic, since)
        ranges = {
            p: reread(
                max(known.get(p, 0), begins.get(p, 0)),
                max(frontier, begun.get(p, 0), replayed.get(p, range(0)).stop),
                starts[p],
            )
            for p, frontier in frontiers.items()
            if p not in recovery.done
        }
        told = (topic, shard, ranges, since, frontiers, replayed)
        return Reading(*told, settled=not plain, begun=begun)

    def audited(
        self, log: Log, reading: Reading, alive: Callable[[], None]
    ) -> Mapping[int, Audited]:
        """Give which of the positions own no key. Read after the frontiers: see `audited`."""
        topic, shard = reading.topic, reading.shard
        if topic in self._plain:
            # There owners are hearsay, and nothing is written down.
            return {p: Audited() for p in reading.ranges}
        inbox = self._inboxes.get(topic)

        def read(ranges: Mapping[int, range], replayed: Mapping[int, range]) -> dict[int, Audited]:
            if inbox is None:
                told = (ranges, reading.since, alive, replayed)
                return audited(log, self._topics, self._audit, shard, *told)
            return {
                p: inbox.audited(shard, p, offsets, replayed.get(p, range(0)))
                if offsets
                else Audited()
                for p, offsets in ranges.items()
            }

        found = read(reading.ranges, reading.replayed)
        follow(found, lambda ranges: read(ranges, ranges))
        return found

    def _begun(self, topic: str, committed: Mapping[int, Frontier | None]) -> dict[int, int]:
        """Give how far records may have been handled that are not settled: plain tier.

        Marks that were made under a lost seal are lost. So that is to the end of the log, in each
        partition that was ever begun: where a partition begins is committed before its first
        record is claimed. Owners are put back up to there, too:

        1. A is handled, and the ledger is lost before its frontier is in Kafka.
        2. Another worker recovers up to Kafka's frontier, which is below A.
        3. B, a copy of A that was sent meanwhile, would find no owner, and be handled unflagged.
        """
        if topic not in self._plain:
            return {}
        ours = [p for p, found in committed.items() if found is not None and found.ours]
        ends = self._topics.ends([(topic, partition) for partition in ours]) if ours else {}
        return {partition: end for (_, partition), end in ends.items()}

    def assertions(
        self, reading: Reading, partition: int, messages: Sequence[Message], audited: Audited
    ) -> Iterator[Assertion]:
        """Give what is to be put back of records that were read again."""
        records = [record_of(message, reading.shard.topic_id) for message in messages]
        assertion = Assertion(partition, records[-1].offset + 1)
        self._identify(records, assertion)
        assertion.audited = audited.own_none(assertion.offsets, assertion.digests)
        if reading.settled:
            frontier = reading.frontiers.get(partition, 0)
            assertion.settled, assertion.floor = True, min(assertion.end, frontier)
        yield from owners_of(assertion, audited)
        yield assertion

    def teller(self, topic: str) -> Callable[[int], None]:
        """Give what tells now and then how much is left."""
        told = 0.0

        def tell(left: int) -> None:
            nonlocal told
            if time.monotonic() >= told + TELL_SECONDS:
                self._emit(Recovering(topic, left))
                told = time.monotonic()

        return tell


def _floors(recovery: Recovery, frontiers: Mapping[int, int]) -> dict[int, int]:
    return {p: min(floor, frontiers.get(p, floor)) for p, floor in recovery.floors.items()}


def follow(
    found: Mapping[int, Audited], read: Callable[[Mapping[int, range]], Mapping[int, Audited]]
) -> None:
    """Let the owners that the audit names be those who own the keys in the end.

    One of them may have been suppressed itself:

    1. A claims a key. B, a copy, is suppressed in favour of A, and settled. The ledger is lost
       before A is settled.
    2. C, another copy, claims the key and is handled; A is suppressed in favour of C.
    3. The window passes, and B is replayed. Were A put back, A would be handled if it is replayed
       as well, and C would not.

    Args:
        found: What the audit says of what is handled again; changed.
        read: Gives the same of other positions.
    """
    asked: set[tuple[int, int]] = set()
    while names := {o[:2] for each in found.values() for _, o in each.owners.values()} - asked:
        asked |= names
        ranges: dict[int, range] = {}
        for partition, offset in names:
            at = ranges.get(partition, range(offset, offset))
            ranges[partition] = range(min(at.start, offset), max(at.stop, offset + 1))
        further = {p: told.owners for p, told in read(ranges).items()}
        for each in found.values():
            for (at_offset, digest), (verdict, owner) in each.owners.items():
                theirs = further.get(owner.partition, {}).get((owner.offset, digest))
                if theirs is not None:
                    each.owners[at_offset, digest] = (verdict, theirs[1])


def owners_of(read: Assertion, audited: Audited) -> list[Assertion]:
    """Give who owned the keys of what was suppressed, and is read again to be suppressed again.

    The owner may stand below all that is read. It is put back only if nobody owns the key.
    """
    owners: dict[int, Assertion] = {}
    if not audited.owners:
        return []
    records = zip(read.offsets, read.digests, read.fingerprints, read.times, strict=True)
    for offset, digest, fingerprint, stamp in records:
        if (offset, digest) not in audited.owners:
            continue  # or it is another key that the audit tells of
        verdict, owner = audited.owners[offset, digest]
        # A database does not keep it. It was the same, or another one: that is all that counts.
        theirs = owner.fingerprint or (fingerprint ^ (verdict is Verdict.CONFLICT))
        into = owners.setdefault(owner.partition, Assertion(owner.partition, 0))
        into.offsets.append(owner.offset)
        into.digests.append(digest)
        into.fingerprints.append(theirs)
        into.times.append(stamp)
    return list(owners.values())
