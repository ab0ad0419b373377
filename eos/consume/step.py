"""Reads batches, and opens, rewinds and closes the lanes they come from.

A *lane* is an assigned partition whose frontier was read from Kafka with a stable read and
whose epoch was bumped in the ledger. Records flow from open lanes alone; whatever else a poll
returns (of a partition lost meanwhile, or from before a rewind) is dropped here, because it
will be read again.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from eos.consume.lanes import Lane, Slice, epoch_of, record_of
from eos.consume.opening import Opening
from eos.consume.pace import Pace
from eos.core.errors import AbortableError, PositionGoneError, RetriableError
from eos.core.events import Assigned, Emit, Halted, Waiting
from eos.core.frontier import Frontier
from eos.core.ports import Clock, Partition, Reader, Revoking, Topics
from eos.core.record import Message, Shard

_OPEN_POLL = 0.1
_SAY_HALTED = 60.0


class Consume:
    """The first step of the line.

    Args:
        reader: The member of the consumer group.
        topics: Describes topics.
        opening: Opens lanes.
        sources: The topics to read.
        targets: The topics that steps publish to by default; they must exist.
        prepare: Makes topics of eos itself, at the start.
        batch_records: At most this many records are read at once.
        batch_wait: At most this many seconds are waited for the first of them.
        emit: Told of partitions that open.
        clock: Tells the time.

    Attributes:
        membership: The group membership under which what is pending was read. It is pinned when
            the first batch of a transaction is read: a later generation would let this worker
            settle what it has lost and another one has got.
        revoking: Told of partitions that are about to be given back. Never raises.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        topics: Topics,
        opening: Opening,
        sources: Sequence[str],
        targets: Sequence[str],
        prepare: Callable[[], None],
        batch_records: int,
        batch_wait: float,
        emit: Emit,
        clock: Clock = time,
    ) -> None:
        self._clock = clock
        self._reader = reader
        self._topics = topics
        self._opening = opening
        self._sources = sources
        self._targets = targets
        self._prepare = prepare
        self._pace = Pace(batch_records, clock.monotonic)
        self._batch_wait = batch_wait
        self._emit = emit
        self._joined = False
        self._lanes: dict[Partition, Lane] = {}
        self._assignments = 0
        self._rewind: tuple[bool, float] | None = None
        self._halted: set[Partition] = set()
        self._say_halted = 0.0
        self.membership: object = None
        self.revoking: Revoking = lambda _: None

    def __call__(self) -> list[Slice]:
        """Read the next batch; empty if nothing came within the wait. Raises as `read` does."""
        return self._slices(self.read(self._batch_wait))

    def read(self, seconds: float, limit: int = 0) -> Sequence[Message]:
        """Read messages of open lanes, and others, which must be dropped.

        Args:
            seconds: How long to wait for the first of them.
            limit: At most so many; 0: as many as the loop keeps pace with.

        Raises:
            AbortableError: The assignment changed: what was read of it before is void. Or the log
                has let go of records: see `Gaps`.
            RetriableError: A server is away.
        """
        paced = limit == 0
        limit = limit or self._pace.limit()
        if not self._go_back(seconds):
            return []
        if not self._joined:
            self._join()
        waiting = self._open()
        self._release()
        try:
            messages = self._reader.poll(limit, min(_OPEN_POLL, seconds) if waiting else seconds)
        except PositionGoneError as error:
            self._opening.check()  # with its topic?
            self._opening.gaps.gone.update(error.partitions)
            raise
        self._check_assignment()
        if not messages:
            return []
        if paced:
            self._pace.handed_out()
        if self.membership is None and any(message.error() is None for message in messages):
            self.membership = self._reader.group_metadata()
        return messages

    def rewind(self, *, reopen: bool, hold: float = 0.0) -> None:
        """Go back to the frontier of every lane, with the next call.

        Args:
            reopen: Read the frontiers from Kafka again and take new epochs, instead of trusting
                those in memory.
            hold: Stay in the group for so many seconds before reading on. Calls return nothing
                meanwhile.
        """
        self.membership = None
        asked = self._rewind or (False, 0.0)
        # What was asked for before and not carried out yet still holds: a rebalance during the
        # wait must not bring back frontiers that nobody is sure of.
        self._rewind = (reopen or asked[0], max(self._clock.monotonic() + hold, asked[1]))

    def hold(self, lane: Lane, offset: int, attempts: int, seconds: float) -> None:
        """Read a lane again from a record that could not be handled, after a while.

        The other lanes go on. Nothing of this one is read meanwhile, so its order holds.

        Args:
            lane: The lane.
            offset: The record's offset.
            attempts: How many tries of it have failed.
            seconds: How long to hold the lane back.
        """
        lane.next, lane.failed = offset, (offset, attempts)
        lane.due = self._clock.monotonic() + seconds
        self._reader.pause([lane.partition])

    def seek(self, partition: Partition, offset: int) -> bool:
        """Read a lane from elsewhere, because the user says so.

        Below the frontier that announces a replay: what was settled is handled again.

        Returns:
            False if there is no such lane.

        Raises:
            AbortableError: Somebody else has taken the partition over.
            RetriableError: The ledger is away.
        """
        lane = self._lanes.get(partition)
        if lane is None:
            return False
        self._opening.turn(lane, offset)
        self.flow(partition)
        return True

    def unpin(self) -> None:
        """Begin a new transaction: the next batch pins the membership anew."""
        self.membership = None

    def commit(self, frontiers: Mapping[Partition, Frontier], *, wait: bool) -> None:
        """Commit the frontiers of plain lanes."""
        self._reader.commit(frontiers, wait=wait)

    def holds(self, lane: Lane) -> bool:
        """Tell whether a lane's partition is still under the assignment it was opened under."""
        return self._reader.assigned().get(lane.partition) == lane.assignment

    @property
    def lanes(self) -> Mapping[Partition, Lane]:
        """The open lanes."""
        return self._lanes

    def flow(self, partition: Partition) -> None:
        """Let a lane flow that somebody held back."""
        lane = self._lanes.get(partition)
        if lane is not None and not self._flow(lane):
            self._opening.before[partition] = self._lanes.pop(partition)  # to be opened anew

    def lane(self, partition: Partition) -> Lane | None:
        """Give the open lane of a partition."""
        return self._lanes.get(partition)

    def settled(self, slice_: Slice) -> None:
        """Move a lane's frontier on, after its transaction committed."""
        lane = slice_.lane
        lane.frontier, lane.leader_epoch = slice_.end, slice_.leader_epoch
        lane.time = slice_.log_time

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, Frontier | None]:
        """Read committed offsets with a stable read."""
        return self._reader.frontiers(partitions)

    def stay(self) -> None:
        """Stay in the group for another while; what was being read must be rewound."""
        self._reader.pause(self._reader.assigned())
        self._reader.poll(1, 0)

    def passed(self, lane: Lane, offsets: Sequence[int]) -> None:
        """Look for what was not delivered before and among these offsets of a lane.

        Raises:
            AbortableError: Something that may own a key: see `Gaps`.
        """
        at = lane.next
        for offset in offsets:
            if at >= lane.pending:
                return
            if at < offset:
                self._opening.gaps.passed(lane, at, offset)
            at = offset + 1

    def check_topics(self) -> None:
        """See that no topic was made anew under our hands. Raises as `Opening.check` does."""
        self._opening.check()

    def log_times(self) -> dict[str, dict[int, int]]:
        """Give the log time of each lane's frontier, by topic and partition."""
        return self._opening.log_times(self._lanes, self._clock)

    def shard_of(self, topic: str) -> tuple[Shard, int]:
        """Give a topic's shard and how many partitions the topic has."""
        return self._opening.shard_of(topic)

    def close(self) -> None:
        """Leave the group."""
        self._reader.close()

    def _join(self) -> None:
        for topic in (*self._sources, *self._targets):
            self._topics.describe(topic)  # a wrong name shall show now, not as a time-out
        self._prepare()
        self._reader.subscribe(self._sources, self._tell_revoking)
        self._joined = True

    def _tell_revoking(self, partitions: Collection[Partition]) -> None:
        self.revoking(partitions)

    def _check_assignment(self) -> None:
        if self._reader.assignments != self._assignments:
            self._assignments = self._reader.assignments
            raise AbortableError("the group's assignment changed", "rebalance")

    def _go_back(self, seconds: float) -> bool:
        """Carry out a rewind that was asked for, once its time has come; True if none is left."""
        if self._rewind is None:
            return True
        reopen, until = self._rewind
        assigned = self._reader.assigned()
        if (left := until - self._clock.monotonic()) > 0:
            # Only then: a client whose partitions were all paused sleeps up to 1 s afterwards.
            # What flows of a lane that is not open is dropped, and what is sought begins anew.
            self._reader.pause(assigned)
            if self._reader.poll(1, min(left, seconds)):
                raise AbortableError("a record came from a paused partition", "rebalance")
            self._check_assignment()
            return False
        self._rewind = None
        lanes = list(self._lanes.values())
        self._lanes = {}
        if reopen:
            # Beside those of an earlier attempt that failed before they were open again.
            self._opening.before |= {lane.partition: lane for lane in lanes}
        for lane in lanes:
            if not reopen and assigned.get(lane.partition) == lane.assignment:
                lane.next = lane.frontier
                if not self._flow(lane):
                    self._opening.before[lane.partition] = lane
        return True

    def _open(self) -> bool:
        """Open what is assigned and not open yet.

        Returns:
            True if partitions must wait, because a transaction of their last owner is still
            open, or because the client has not started them yet.
        """
        # As it is now: what is lost and given back while we ask is another assignment.
        assigned = self._reader.assigned()
        halted = {p for p, number in assigned.items() if self._opening.halts(p, number)}
        closed = [p for p in assigned if p not in self._lanes and p not in halted]
        self._tell_halted(halted)
        if not closed:
            return False
        try:
            frontiers = self._opening.frontiers(closed)
        except RetriableError as error:
            self._emit(Waiting("frontier", _OPEN_POLL, str(error)))
            return True
        opened = []
        for lane in self._opening(frontiers, assigned):
            if self._flow(lane):
                opened.append(lane.partition)
            else:
                self._opening.before[lane.partition] = lane
        self._emit(Assigned(tuple(sorted(opened))))
        halts = [p for p in closed if self._opening.halts(p, assigned[p])]
        self._reader.pause(halts)
        return len(opened) + len(halts) < len(closed)

    def _tell_halted(self, halted: set[Partition]) -> None:
        """Tell of partitions that wait for an operator, again and again while they do."""
        now = self._clock.monotonic()
        if halted == self._halted and (not halted or now < self._say_halted):
            return
        self._say_halted = now + _SAY_HALTED
        for topic in {topic for topic, _ in halted | self._halted}:
            numbers = tuple(sorted(number for name, number in halted if name == topic))
            details = [self._opening.halted[topic, number][1] for number in numbers]
            self._emit(Halted(topic, numbers, "; ".join(details)))
        self._halted = halted

    def _release(self) -> None:
        """Let lanes go on that were held back for long enough."""
        now = self._clock.monotonic()
        for lane in self._lanes.values():
            if lane.due and lane.due <= now:
                with suppress(RetriableError):  # lost by now, or not started: the next round tells
                    self._reader.seek(lane.partition, lane.next)
                    lane.due = 0.0

    def _flow(self, lane: Lane) -> bool:
        """Let a lane flow from where it is to be read next, if the client can already do so."""
        if lane.due:
            self._lanes[lane.partition] = lane
            return True
        try:
            # Claims go on without a gap at `next`, even where the user's loop is ahead of it.
            at = max(lane.next, lane.handed)
            epoch = lane.leader_epoch if at == lane.frontier else -1
            self._reader.seek(lane.partition, at, epoch)
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
                if lane is None or lane.due or offset < lane.next:
                    continue
                slice_ = slices[lane.partition] = Slice(lane, lane.next, lane.next, [])
            elif offset < slice_.end:
                # Seen when connections broke. The end of a slice must never go back.
                raise AbortableError(f"the client jumped back to {partition}@{offset}", "rebalance")
            if slice_.end < slice_.lane.pending and slice_.end < offset:
                self._opening.gaps.passed(slice_.lane, slice_.end, offset)
            record = record_of(message, slice_.lane.shard.topic_id, slice_.lane.epoch)
            slice_.records.append(record)
            if offset == slice_.lane.failed[0]:
                record.attempt += slice_.lane.failed[1]
            slice_.end = slice_.lane.next = offset + 1
        for slice_ in slices.values():
            slice_.offsets = [record.offset for record in slice_.records]
        _note_epochs(messages, slices)
        return list(slices.values())


def _note_epochs(messages: Sequence[Message], slices: Mapping[Partition, Slice]) -> None:
    """Note which leader wrote the last record of each slice."""
    left = set(slices)
    for message in reversed(messages):
        if not left:
            return
        place = (message.topic(), message.partition())
        if place in left:
            slices[place].leader_epoch = epoch_of(message)
            left.discard(place)
