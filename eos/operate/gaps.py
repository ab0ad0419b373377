"""Lets nobody own a key at positions that are gone, and gives copies of them another chance.

    1. A claims a key and dies. B, a copy on another partition, is suppressed in favour of A, and
       settled.
    2. A's partition stands still for long, and retention removes A.

B must be handled, and so must whatever copy comes next; and of all of them one. What is done, in an
order in which each step may be done twice, whoever dies between them:

1. The gap is written into the audit, by who is known to have the partition: what somebody else had
   in flight would not be lost. From here on whoever recovers the ledger knows of it.
2. The ledger is told. Who claims a key now finds no owner in the gap.
3. The seal is broken, and the ledger opened again. A claim that was answered before step 2 comes to
   nothing, unless its transaction has confirmed already; and then it is waited for in step 4.
4. The audit is read to its end: it names all that was suppressed in favour of what is gone.
5. Those copies are published again, each on its own partition. The claim decides among them.

The frontier is moved over the gap after that, so that a successor of whoever dies before does it
again. Where it is a row beside the effects it is moved in step 1, with the note: nothing else
fences those who have something in flight; and a second note says when all is done. In the plain
tier there is no audit, and copies that were suppressed are not known: only step 2 is done. Where
keys are rows beside the effects, nothing is claimed that is not settled, and there is no ledger.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from eos.claim.step import Recover
from eos.consume.lanes import Lane
from eos.core.audit import write
from eos.core.errors import AbortableError
from eos.core.events import Emit, Lost
from eos.core.letters import copy_headers
from eos.core.ports import (
    MENDED,
    Clock,
    Inbox,
    Ledger,
    Log,
    Mark,
    Partition,
    Publish,
    Refused,
    Suppressed,
    Topics,
    gap_entry,
)
from eos.core.record import Message, Position
from eos.core.rules import Gap, Verdict, is_void
from eos.operate.audit import entries


@dataclass(slots=True)
class Mend:
    """Mends gaps.

    Args:
        ledger: Where owners are.
        log: The log, and the audit in it.
        topics: Describes topics.
        recover: Opens the ledger again.
        inboxes: The databases of topics whose frontiers are rows.
        audit: The audit's topic, where it is no database.
        publish: Publishes copies, and to the audit.
        stay: Keeps this worker in its group meanwhile.
        emit: Told of what is lost.
        clock: Tells the time.
    """

    ledger: Ledger
    log: Callable[[], Log]
    topics: Topics
    recover: Recover
    inboxes: Mapping[str, Inbox]
    audit: str
    publish: Publish
    stay: Callable[[], None]
    emit: Emit
    clock: Clock
    _told: set[tuple[Partition, range]] = field(default_factory=set)

    def __call__(self, lane: Lane, offsets: range, cause: str) -> None:
        """Do it for one gap. May be done again after it raised.

        Args:
            lane: Where.
            offsets: What is gone.
            cause: `retention` or `compaction`.

        Raises:
            AbortableError: Somebody else has taken the partition over.
            RetriableError: A server is away, another worker recovers, a transaction is open.
        """
        topic, number = lane.partition
        redriven = gone = 0
        if (lane.partition, offsets) not in self._told:
            self._tell(lane, offsets, cause)
            # The seal is not broken anew because another worker was quicker to open the ledger.
            self._told.add((lane.partition, offsets))
        if not lane.plain:
            if not lane.joined and isinstance(self.ledger.claim(lane.shard, []), Refused):
                self.recover(topic, "closed", {})
            redriven, gone = self._redrive(lane)
        if lane.inbox:
            done = gap_entry(number, offsets, MENDED, int(self.clock.time()))
            self.inboxes[topic].note(lane.shard, done)
        self.emit(Lost(topic, number, offsets, cause, redriven, gone))

    def _tell(self, lane: Lane, offsets: range, cause: str) -> None:
        if not (lane.plain or lane.inbox):
            entry = gap_entry(lane.partition[1], offsets, cause, int(self.clock.time()))
            told = write(lane.shard, lane.partition[0], entry)
            self.publish(self.audit, told, None, [])
        if lane.joined:
            return
        mark = Mark(lane.partition[1], lane.epoch, offsets.stop)
        if not self.ledger.void(lane.shard, mark, offsets.start):
            raise AbortableError("somebody else has taken a partition over", "ledger_fenced")
        if not lane.plain:
            self.ledger.unseal(lane.shard)

    def _redrive(self, lane: Lane) -> tuple[int, int]:
        """Publish copies again; give how many there were, and how many are gone as well."""
        topic, _ = lane.partition
        log = self.log()
        try:
            if lane.inbox:
                inbox = self.inboxes[topic]
                _, count = self.topics.describe(topic)
                inbox.frontiers(lane.shard, range(count))  # waits for those who claimed before
                copies = inbox.copies(lane.shard)
            else:
                told = entries(log, self.topics, self.audit, lane.shard, 0, self.stay)
                copies = in_vain(told)
            redriven = 0
            for copy in sorted(copies, key=lambda each: each[:2]):
                if message := _read(log, topic, copy):
                    self._publish(lane, message)
                    redriven += 1
                self.stay()
            return redriven, len(copies) - redriven
        finally:
            log.close()

    def _publish(self, lane: Lane, message: Message) -> None:
        topic_id, group = lane.shard.topic_id, lane.shard.group
        position = Position(topic_id, message.partition(), message.offset())
        headers = copy_headers(position, group, message.headers() or [])
        place = (message.topic(), message.value(), message.key())
        self.publish(*place, headers, message.partition())


def in_vain(audit: Iterable[Suppressed]) -> list[Suppressed]:
    """Give what the audit says was suppressed in favour of owners in gaps, and was not redriven.

    In any gap, and not only in the last one: what was published again because of an earlier one may
    be what is lost now.
    """
    copies: dict[tuple[int, int], Suppressed] = {}
    gaps: dict[int, list[Gap]] = {}
    redriven = set()
    for entry in audit:
        place = entry.partition, entry.offset
        if entry.verdict is Verdict.SETTLED:
            gaps.setdefault(entry.partition, []).append(Gap(entry.offset, entry.owner.offset))
        elif entry.verdict is Verdict.FRESH:
            redriven.add(place)
        elif entry.verdict is Verdict.DUPLICATE:
            copies[place] = entry
    return [
        copy
        for place, copy in copies.items()
        if place not in redriven and is_void(copy.owner, gaps.get(copy.owner.partition, []))
    ]


def _read(log: Log, topic: str, copy: Suppressed) -> Message | None:
    at = range(copy.offset, copy.offset + 1)
    for messages in log.read(topic, copy.partition, at):
        for message in messages:
            return message
    return None
