"""What the log has let go of before it was handled.

Retention removes the beginning of a log, whether a group has read it or not; compaction removes
records from its midst. What is gone cannot be handled; it is counted. But somebody may have claimed
its key before he died, and then copies of it may have been suppressed, or will be, in favour of a
record that never comes. So before anything is read on, such owners are made void, and those copies
are published again (`eos.operate.gaps`).

A log that ends before the frontier was cut off: a leader that lacked records was elected
(`unclean.leader.election.enable`). Its offsets are given to other records now, and only an operator
can say which of them are to be handled: the partition halts.
"""

import time
from collections.abc import Callable, Mapping

from eos.consume.lanes import Lane
from eos.consume.resets import cut_off, move_row
from eos.core import rules
from eos.core.errors import AbortableError
from eos.core.ports import Inbox, Partition, Reader, Topics, gap_entry

RETENTION, COMPACTION = "retention", "compaction"


class Gaps:
    """Finds gaps, has them mended, and moves lanes over them.

    Args:
        reader: The member of the consumer group.
        topics: Knows where partitions begin and end.
        inboxes: The databases of topics whose frontiers are rows.

    Attributes:
        gone: Partitions whose position the log no longer holds, and what the client says of it.
        mend: Lets nobody own a key in a gap; given a lane, the gap, and its cause.
    """

    def __init__(self, reader: Reader, topics: Topics, inboxes: Mapping[str, Inbox]) -> None:
        self._reader = reader
        self._topics = topics
        self._inboxes = inboxes
        self._compacts: dict[str, bool] = {}
        self._found: dict[Partition, range] = {}
        self._mended: dict[Partition, list[range]] = {}
        self.gone: dict[Partition, str] = {}
        self.mend: Callable[[Lane, range, str], None] = lambda *_: None

    def pending(self, topic: str, frontier: int, claimed: int) -> int:
        """Give below which offset whatever is not delivered may own a key; 0 for nowhere."""
        if claimed <= frontier:
            return 0
        if topic not in self._compacts:
            self._compacts[topic] = self._topics.compacts(topic)
        return claimed if self._compacts[topic] else 0

    def passed(self, lane: Lane, start: int, stop: int) -> None:
        """Take note that reading has passed offsets which were not delivered.

        Raises:
            AbortableError: Owners there are to be made void first.
        """
        gap = range(start, min(stop, lane.pending))
        known = self._mended.get(lane.partition, [])
        if not any(each.start <= gap.start and gap.stop <= each.stop for each in known):
            self._found[lane.partition] = gap
            raise AbortableError(f"{lane.partition} has no {gap.start} any more", "gap")

    def cross(self, lane: Lane) -> str:
        """Move a lane over what is gone.

        Returns:
            Why it must halt; empty if it need not.

        Raises:
            AbortableError: Done: open it anew.
            RetriableError: A server is away: nothing is lost by doing it again.
        """
        place = lane.partition
        if lane.inbox:
            self._mend_rows(lane)
        if (gap := self._found.get(place)) is not None:
            self._mend(lane, gap, COMPACTION)
            self._mended.setdefault(place, []).append(gap)
            del self._found[place]
            raise AbortableError(f"{place} was compacted from {gap.start} to {gap.stop}", "gap")
        if place not in self.gone:
            return ""
        start, end = self._topics.starts([place])[place], self._topics.ends([place])[place]
        # What a loop was handed, it may still settle.
        lost = rules.passed_over(max(lane.frontier, lane.handed), start, end)
        if lost is None or "truncation" in self.gone[place].lower():
            del self.gone[place]
            return cut_off(lane, end)
        if lost:
            self._mend(lane, lost, RETENTION)
            if not lane.inbox:
                self._move(lane, lost.stop)
            del self.gone[place]
            raise AbortableError(f"{place} begins at {lost.stop} now", "gap")
        del self.gone[place]
        return ""

    def _mend(self, lane: Lane, gap: range, cause: str) -> None:
        """Have it done; or noted in a database, to be done when the lane is opened anew."""
        if lane.inbox:
            self._note(lane, gap, cause)
        else:
            self._prove(lane)
            self.mend(lane, gap, cause)

    def _mend_rows(self, lane: Lane) -> None:
        """Do what was noted in the database, and not done yet."""
        topic, number = lane.partition
        gaps = self._inboxes[topic].unmended(lane.shard, number)
        for gap, cause in gaps:
            self.mend(lane, gap, cause)
        if gaps:
            raise AbortableError(f"{lane.partition} has lost records", "gap")

    def _note(self, lane: Lane, gap: range, cause: str) -> None:
        """Note it, and move the row over it: whatever others have in flight comes to nothing."""
        topic, number = lane.partition
        entry = gap_entry(number, gap, cause, int(time.time()))
        if cause == COMPACTION:
            self._inboxes[topic].note(lane.shard, entry)
        else:
            where = (self._inboxes[topic], lane.shard, number)
            move_row(*where, lane.frontier, gap.stop, [entry])

    def _prove(self, lane: Lane) -> None:
        """See that the partition is ours: what somebody else has in flight of it is not lost.

        1. Z reads a frontier. The group gives the partition to A, and Z does not know it yet.
        2. A reads the record at the frontier, and handles it. Then the log lets go of it.
        3. Z finds that, and calls the record's owner void. A settles it, and copies are handled.

        The group takes an offset from A after this no more, unless Z is the one that it refuses.
        """
        place = lane.partition
        self._check(lane)
        tries = lane.failed[1] if lane.failed[0] == lane.frontier else 0
        self._reader.commit({place: lane.frontier_at(lane.frontier, tries, lane.note)}, wait=True)
        found = self._reader.frontiers([place])[place]
        if found is None or found.offset != lane.frontier:
            raise AbortableError(f"the frontier of {place} was moved by others", "rebalance")

    def _move(self, lane: Lane, offset: int) -> None:
        self._check(lane)  # the classic coordinator does not ask whose partition it is
        frontier = lane.frontier_at(offset, note=lane.note)
        self._reader.commit({lane.partition: frontier}, wait=True)
        if lane.handed:
            lane.handed = offset  # else it would look as if a loop had committed ahead of itself

    def _check(self, lane: Lane) -> None:
        """See that the group has not given the partition away, as far as we know."""
        if self._reader.assigned().get(lane.partition) != lane.assignment:
            raise AbortableError("the group's assignment changed", "rebalance")
