"""Reads batches, and opens, rewinds and closes the lanes they come from.

A *lane* is an assigned partition whose frontier was read from Kafka with a stable read and
whose epoch was bumped in the ledger. Records flow from open lanes alone; whatever else a poll
returns (of a partition lost meanwhile, or from before a rewind) is dropped here, because it
will be read again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eos.consume.pace import Pace
from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Assigned, Emit, Waiting
from eos.core.ports import Ledger, Partition, Reader, Topics
from eos.core.record import Message, Record, Shard

_OPEN_POLL = 0.1


@dataclass(slots=True)
class Lane:
    """An open partition.

    Attributes:
        partition: Topic and number.
        shard: The ledger's shard that its claims go to.
        epoch: The epoch of this take-over, handed to handlers as fencing token.
        assignment: The number of the assignment that it was opened under.
        frontier: The first offset that is not settled.
        next: The first offset that was not read yet.
        time: Log time of the frontier, seconds since the epoch; 0 if nothing was settled yet.
    """

    partition: Partition
    shard: Shard
    epoch: int
    assignment: int
    frontier: int
    next: int
    time: int = 0


@dataclass(slots=True)
class Slice:
    """A contiguous stretch of one lane.

    Attributes:
        lane: Where it is from.
        start: Where the reading of it began.
        end: One past its last offset.
        records: What was read, in offset order; the claim leaves what is to be handled.
        read: How many records were read.
        rejected: Records that go to the dead letter topic, with the reason; the claim fills it.
    """

    lane: Lane
    start: int
    end: int
    records: list[Record]
    read: int = 0
    rejected: list[tuple[Record, str]] = field(default_factory=list)


class Consume:
    """The first step of the line.

    Args:
        reader: The member of the consumer group.
        topics: Describes topics.
        ledger: Gives out epochs.
        shard: Names the shard of a topic id.
        sources: The topics to read.
        targets: The topics that steps publish to by default; they must exist.
        own_topics: Topics of eos itself, made at start.
        batch_records: At most this many records are read at once.
        batch_wait: At most this many seconds are waited for them.
        emit: Told of partitions that open.

    Attributes:
        membership: The group membership under which what is pending was read. It is pinned when
            the first batch of a transaction is read: a later generation would let this worker
            settle what it has lost and another one has got.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        topics: Topics,
        ledger: Ledger,
        shard: Callable[[str], Shard],
        sources: Sequence[str],
        targets: Sequence[str],
        own_topics: Sequence[str],
        batch_records: int,
        batch_wait: float,
        emit: Emit,
    ) -> None:
        self._reader = reader
        self._topics = topics
        self._ledger = ledger
        self._shard = shard
        self._sources = sources
        self._targets = targets
        self._own_topics = own_topics
        self._pace = Pace(batch_records)
        self._batch_wait = batch_wait
        self._emit = emit
        self._joined = False
        self._shards: dict[str, Shard] = {}
        self._partition_counts: dict[str, int] = {}
        self._lanes: dict[Partition, Lane] = {}
        self._assignments = 0
        self._rewind: tuple[bool, float] | None = None
        self.membership: object = None

    def __call__(self) -> list[Slice]:
        """Read the next batch; empty if nothing came within the wait.

        Raises:
            AbortableError: The assignment changed: what was read of it before is void.
            RetriableError: A server is away.
        """
        limit = self._pace.limit()
        self._go_back()
        if not self._joined:
            self._join()
        waiting = self._open()
        messages = self._reader.poll(limit, _OPEN_POLL if waiting else self._batch_wait)
        self._check_assignment()
        if not messages:
            return []
        self._pace.handed_out()
        if self.membership is None:
            self.membership = self._reader.group_metadata()
        return self._slices(messages)

    def rewind(self, *, reopen: bool, hold: float = 0.0) -> None:
        """Go back to the frontier of every lane, with the next call.

        Args:
            reopen: Read the frontiers from Kafka again and take new epochs, instead of trusting
                those in memory.
            hold: Stay in the group for so many seconds before reading on.
        """
        self.membership = None
        asked = self._rewind or (False, 0.0)
        # What was asked for before and not carried out yet still holds: a rebalance during the
        # wait must not bring back frontiers that nobody is sure of.
        self._rewind = (reopen or asked[0], max(hold, asked[1]))

    def wait(self, seconds: float) -> None:
        """Stay in the group for a while without reading on.

        Raises:
            AbortableError: The assignment changed meanwhile.
        """
        held = list(self._lanes)
        self._reader.pause(held)
        self._poll_in_vain(seconds)
        self._reader.resume(held)

    def unpin(self) -> None:
        """Begin a new transaction: the next batch pins the membership anew."""
        self.membership = None

    def settled(self, lane: Lane, end: int, log_time: int) -> None:
        """Move a lane's frontier on, after its transaction committed."""
        lane.frontier = end
        lane.time = log_time

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """Read committed offsets with a stable read."""
        return self._reader.frontiers(partitions)

    def stay(self) -> None:
        """Stay in the group for another while; what was being read must be rewound."""
        self._reader.pause(self._reader.assigned())
        self._reader.poll(1, 0)

    def log_times(self) -> dict[str, dict[int, int]]:
        """Give the log time of each lane's frontier, by topic and partition.

        A partition that was read to its end counts as now; one that nothing was settled of is
        left out.
        """
        now, ends = int(time.time()), self._topics.ends(list(self._lanes))
        times: dict[str, dict[int, int]] = {topic: {} for topic in self._shards}
        for (topic, partition), lane in self._lanes.items():
            ended = lane.frontier >= ends[topic, partition]
            if at := now if ended else lane.time:
                times[topic][partition] = at
        return times

    def shard_of(self, topic: str) -> tuple[Shard, int]:
        """Give a topic's shard and how many partitions the topic has."""
        return self._shards[topic], self._partition_counts[topic]

    def close(self) -> None:
        """Leave the group."""
        self._reader.close()

    def _join(self) -> None:
        for topic in (*self._sources, *self._targets):
            self._topics.describe(topic)  # a wrong name shall show now, not as a time-out
        self._topics.ensure(self._own_topics)
        self._reader.subscribe(self._sources)
        self._joined = True

    def _check_assignment(self) -> None:
        if self._reader.assignments != self._assignments:
            self._assignments = self._reader.assignments
            raise AbortableError("the group's assignment changed", "rebalance")

    def _poll_in_vain(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._reader.poll(1, min(left, _OPEN_POLL)):
                raise AbortableError("a record came from a paused partition", "rebalance")
            self._check_assignment()

    def _go_back(self) -> None:
        """Carry out a rewind that was asked for."""
        if self._rewind is None:
            return
        reopen, hold = self._rewind
        assigned = self._reader.assigned()
        self._reader.pause(assigned)
        self._rewind = (reopen, 0.0)  # a rebalance meanwhile does not make the wait longer
        self._poll_in_vain(hold)
        self._rewind = None
        lanes = list(self._lanes.values())
        self._lanes = {}
        for lane in lanes:
            if not reopen and assigned.get(lane.partition) == lane.assignment:
                lane.next = lane.frontier
                self._flow(lane)

    def _open(self) -> bool:
        """Open what is assigned and not open yet.

        Returns:
            True if partitions must wait, because a transaction of their last owner is still
            open, or because the client has not started them yet.
        """
        closed = [p for p in self._reader.assigned() if p not in self._lanes]
        if not closed:
            return False
        try:
            frontiers = self._reader.frontiers(closed)
        except RetriableError:
            self._emit(Waiting("frontier", _OPEN_POLL))
            return True
        new = [partition for partition, frontier in frontiers.items() if frontier is None]
        frontiers |= self._reader.beginnings(new)
        opened = []
        for topic in {topic for topic, _ in closed}:
            # Asked each time: partitions may have been added, or the topic made anew.
            topic_id, self._partition_counts[topic] = self._topics.describe(topic)
            shard = self._shards[topic] = self._shard(topic_id)
            numbers = [number for name, number in closed if name == topic]
            for number, taken in self._ledger.take(shard, numbers).items():
                partition, frontier = (topic, number), frontiers[topic, number] or 0
                assignment = self._reader.assigned()[partition]
                lane = Lane(partition, shard, taken.epoch, assignment, frontier, frontier)
                opened += [partition] if self._flow(lane) else []
        self._emit(Assigned(tuple(sorted(opened))))
        return len(opened) < len(closed)

    def _flow(self, lane: Lane) -> bool:
        """Let a lane flow from where it is to be read next, if the client can already do so."""
        try:
            self._reader.seek(lane.partition, lane.next)
        except RetriableError:
            return False
        self._lanes[lane.partition] = lane
        return True

    def _slices(self, messages: Sequence[Message]) -> list[Slice]:
        lanes = self._lanes
        slices: dict[Partition, Slice] = {}
        for message in messages:
            partition = (message.topic(), message.partition())
            offset = message.offset()
            slice_ = slices.get(partition)
            if slice_ is None:
                lane = lanes.get(partition)
                if lane is None or offset < lane.next:
                    continue
                slice_ = slices[lane.partition] = Slice(lane, lane.next, lane.next, [])
            elif offset < slice_.end:
                # Seen when connections broke. The end of a slice must never go back.
                raise AbortableError(f"the client jumped back to {partition}@{offset}", "rebalance")
            slice_.records.append(record_of(message, slice_.lane.shard.topic_id, slice_.lane.epoch))
            slice_.end = slice_.lane.next = offset + 1
        for slice_ in slices.values():
            slice_.read = len(slice_.records)
        return list(slices.values())


def record_of(message: Message, topic_id: str, fencing_token: int = 0) -> Record:
    """Make a record of a message."""
    return Record(
        message.topic(),
        topic_id,
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.headers() or [],
        message.timestamp()[1],
        fencing_token,
    )
