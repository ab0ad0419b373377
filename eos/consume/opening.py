"""Opens lanes: frontiers read with a stable read, epochs taken, beginnings put into the log."""

import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from contextlib import suppress

from eos.consume.gaps import Gaps
from eos.consume.lanes import Lane
from eos.consume.resets import move_row, reset
from eos.core import rules
from eos.core.errors import AbortableError, FatalError, HungError, RetriableError
from eos.core.frontier import Frontier, Replay
from eos.core.ports import (
    NO_INBOXES,
    Clock,
    Inbox,
    Ledger,
    Mark,
    Partition,
    Reader,
    Taken,
    Topics,
)
from eos.core.record import Shard


class Opening:
    """Opens the lanes of a reader, and turns them where the user wants to read.

    Args:
        reader: The member of the consumer group.
        topics: Describes topics.
        ledger: Gives out epochs.
        shard: Names the shard of a topic id.
        plain: Those of the topics whose effects lie outside of Kafka: there the ledger knows
            the frontier, and Kafka's committed offset follows it.
        start: Tells where the user wants a partition read from that was just assigned.
        inboxes: The databases of those topics whose frontiers are rows beside the effects.
        offsets_reset: What becomes of a partition whose offset another tool has set back.

    Attributes:
        gaps: What the log has let go of before it was handled.
        halted: Partitions that wait for an operator: the number of the assignment, and why.
        before: Lanes that are to be opened anew; what this process knows of them still counts.
        told: What the user committed of partitions that were assigned and not open: the number of
            the assignment, and the offset.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        topics: Topics,
        ledger: Ledger,
        shard: Callable[[str], Shard],
        plain: Container[str],
        start: Callable[[Partition], int | None] = lambda _: None,
        inboxes: Mapping[str, Inbox] = NO_INBOXES,
        offsets_reset: str = "halt",
    ) -> None:
        self._reader = reader
        self._topics = topics
        self._ledger = ledger
        self._shard = shard
        self._plain = plain
        self._start = start
        self._inboxes = inboxes
        self._offsets_reset = offsets_reset
        self.gaps = Gaps(reader, topics, inboxes)
        self.halted: dict[Partition, tuple[int, str]] = {}
        self._shards: dict[str, Shard] = {}
        self._partition_counts: dict[str, int] = {}
        self._fresh: set[Partition] = set()
        self.before: dict[Partition, Lane] = {}
        self.told: dict[Partition, tuple[int, int]] = {}

    def frontiers(self, closed: Sequence[Partition]) -> dict[Partition, Frontier]:
        """Give where partitions are to be opened.

        Raises:
            RetriableError: A transaction of their last owner is still open.
        """
        found = self._reader.frontiers(closed)
        ids = {topic: self._topics.describe(topic)[0] for topic, _ in closed}
        new = [partition for partition, frontier in found.items() if frontier is None]
        begins = self._reader.beginnings(new) if new else {}
        for partition, frontier in found.items():
            if frontier is not None and not frontier.is_of(ids[partition[0]]):
                begins[partition] = 0  # of a topic that was deleted: all of this one is new
        self._fresh = set(begins)
        return {
            partition: Frontier(begins[partition], ours=False)
            if frontier is None or partition in begins
            else frontier
            for partition, frontier in found.items()
        }

    def check(self) -> None:
        """See that the topics are those that they were when their lanes were opened.

        Raises:
            HungError: One was deleted and made anew. The client does not notice it, and goes on
                where it was in the old one (librdkafka#3255).
        """
        for topic, shard in self._shards.items():
            with suppress(RetriableError):  # away, or not made anew yet
                if self._topics.describe(topic)[0] != shard.topic_id:
                    raise HungError(
                        f"topic {topic!r} was deleted and made anew: this process must be "
                        "replaced, for its client goes on where it was in the old one"
                    )

    def __call__(
        self, frontiers: Mapping[Partition, Frontier], assigned: Mapping[Partition, int]
    ) -> list[Lane]:
        """Take epochs, and make the lanes.

        Args:
            frontiers: Where to open which partitions.
            assigned: The number of each assignment.

        Raises:
            AbortableError: Something of them is gone; it was dealt with.
            RetriableError: A server is away.
        """
        lanes = []
        for topic in {topic for topic, _ in frontiers}:
            # Asked each time: partitions may have been added, or the topic made anew.
            topic_id, self._partition_counts[topic] = self._topics.describe(topic)
            shard = self._shards[topic] = self._shard(topic_id)
            numbers = [number for name, number in frontiers if name == topic]
            found = {number: frontiers[topic, number] for number in numbers}
            # Before rows are read: from here on nobody else tells the ledger of later ones.
            epochs = self._ledger.take(shard, numbers)
            if topic in self._inboxes:
                found = self._rows(topic, shard, found)
            for number, taken in epochs.items():
                place = (topic, number)
                lane = self._lane(place, shard, taken, found[number], assigned[place])
                self.before[place] = lane  # should anything below raise
                if self._heeds(lane, frontiers[place], taken) and self._crosses(lane):
                    self._place(lane, taken)
                    lanes.append(lane)
        self._catch_up(lanes, frontiers)
        for place in frontiers:
            self.before.pop(place, None)
        return lanes

    def halts(self, partition: Partition, assignment: int) -> bool:
        """Tell whether a partition waits for an operator, under this assignment."""
        return self.halted.get(partition, (0, ""))[0] == assignment

    def begin(self, lanes: Collection[Lane]) -> None:
        """Let it stand in the log that lanes are begun, before anything of them is claimed.

        So a partition whose committed offset does not say so was never begun, whatever the
        ledger lost; and `latest` means the same for our successor. The ledger must be open by
        then: its first recovery shall find nothing begun (see `Claim`).

        Raises:
            AbortableError: The group has given one of them away.
        """
        new = [lane for lane in lanes if not lane.ours]
        if new:
            # The classic coordinator does not ask whose partition it is; and while the ledger was
            # recovered the group may have given it to somebody who has settled more.
            assigned = self._reader.assigned()
            if any(assigned.get(lane.partition) != lane.assignment for lane in new):
                raise AbortableError("the group's assignment changed", "rebalance")
            starts = {
                lane.partition: lane.frontier_at(max(lane.frontier, lane.told), note=lane.note)
                for lane in new
            }
            self._reader.commit(starts, wait=True)
        for lane in new:
            lane.ours = True

    def replay(self, lane: Lane, offset: int) -> None:
        """Move a lane's frontier back, and the ledger's: what was settled is handled again.

        Raises:
            AbortableError: Somebody else has taken the partition over.
            RetriableError: The ledger is away.
        """
        mark = Mark(lane.partition[1], lane.epoch, offset)
        if not self._ledger.rewind(lane.shard, [mark]):
            raise AbortableError("somebody else has taken a partition over", "ledger_fenced")
        peak = max(lane.frontier, lane.replay.peak if lane.replay else 0)
        lane.replay, lane.frontier = Replay(peak, peak), offset
        lane.marked = min(lane.marked, offset)
        lane.begun = min(lane.begun, offset)

    def announce(self, lane: Lane, offset: int) -> None:
        """Announce a replay; reading goes on where it is. Raises as `replay` does."""
        at = max(lane.handed, lane.frontier)
        self.replay(lane, offset)
        lane.handed = at

    def turn(self, lane: Lane, offset: int) -> None:
        """Let a lane go on elsewhere. Raises as `replay` does."""
        if offset < lane.frontier:
            self.replay(lane, offset)
        lane.jumped = offset > max(lane.next, lane.handed)
        lane.next = min(lane.next, offset)
        lane.begun = min(lane.begun, offset)
        lane.handed = offset

    def log_times(
        self, lanes: Mapping[Partition, Lane], clock: Clock = time
    ) -> dict[str, dict[int, int]]:
        """Give the log time of each lane's frontier, by topic and partition.

        A partition that was read to its end counts as now; one that nothing was settled of is
        left out.
        """
        now, ends = int(clock.time()), self._topics.ends(list(lanes))
        times: dict[str, dict[int, int]] = {topic: {} for topic in self._shards}
        for (topic, partition), lane in lanes.items():
            ended = lane.frontier >= ends[topic, partition]
            if at := now if ended else lane.time:
                times[topic][partition] = at
        return times

    def shard_of(self, topic: str) -> tuple[Shard, int]:
        """Give a topic's shard and how many partitions the topic has."""
        return self._shards[topic], self._partition_counts[topic]

    def _rows(
        self, topic: str, shard: Shard, committed: Mapping[int, Frontier]
    ) -> dict[int, Frontier]:
        """Give the frontiers that a database holds; where there is none yet, Kafka's begins it.

        Raises:
            FatalError: One is older than Kafka's, which follows it: the database was restored.
        """
        inbox = self._inboxes[topic]
        rows = inbox.frontiers(shard, committed)
        if new := {number: found for number, found in committed.items() if number not in rows}:
            inbox.create(shard, topic, new)
            rows = inbox.frontiers(shard, committed)
        for number, row in rows.items():
            kafka = committed[number]
            if kafka.ours and row.offset < kafka.offset:
                raise FatalError(
                    f"{topic}[{number}]: the frontier in the database is {row.offset}, and the "
                    f"group's offset, which follows it, is {kafka.offset} already. Did `eos "
                    "replay` end half-way? Then run it again. Was an older backup restored? To "
                    "handle those records again, set the group's offset back with "
                    f"`kafka-consumer-groups.sh --reset-offsets --to-offset {row.offset} --topic "
                    f"{topic}:{number}`, then start again"
                )
        return {number: committed[number].at_row(row) for number, row in rows.items()}

    def _place(self, lane: Lane, taken: Taken) -> None:
        """Let a lane begin where the user wants it."""
        if lane.inbox and taken.floor > lane.frontier:
            # An older backup was restored, and the user says that he means it.
            self.replay(lane, lane.frontier)
        number_told, told = self.told.pop(lane.partition, (0, 0))
        if number_told == lane.assignment and told < lane.frontier:
            self.announce(lane, told)
        if 0 < lane.handed < lane.frontier:
            self.turn(lane, lane.handed)  # it reads again what it has committed
        if (start := self._start(lane.partition)) is not None:
            self.turn(lane, start)

    def _crosses(self, lane: Lane) -> bool:
        """Have a lane moved over what the log has let go of; False: the lane is halted."""
        why = self.gaps.cross(lane)
        if why:
            self.halted[lane.partition] = (lane.assignment, why)
        return not why

    def _heeds(self, lane: Lane, committed: Frontier, taken: Taken) -> bool:
        """See whether another tool has set the group's offset back; False: the lane is halted."""
        place, offset = lane.partition, committed.offset
        self.halted.pop(place, None)
        follows = lane.inbox or lane.plain
        gone = place in self._fresh
        if place in self.told or (gone and follows):
            return True  # the user's own loop did it; or Kafka's offset only followed
        settled = lane.frontier if lane.inbox else taken.floor
        claimed = settled if follows else max(settled, taken.claimed)
        if not rules.set_back(committed=offset, ours=committed.ours, settled=settled):
            return True
        if self._offsets_reset == "halt":
            why = reset(lane, offset, settled, claimed, gone=gone)
            self.halted[place] = (lane.assignment, why)
            return False
        if self._offsets_reset == "replay":
            if lane.inbox:
                move_row(self._inboxes[place[0]], lane.shard, place[1], settled, offset)
            # To put an owner back that is not settled yet harms nobody: it is handled.
            lane.frontier = claimed
            self.replay(lane, offset)
            lane.next = offset
        return True

    def _catch_up(self, lanes: Sequence[Lane], committed: Mapping[Partition, Frontier]) -> None:
        """Let Kafka's offsets follow where the ledger has settled more: its owner died between."""
        behind = {
            lane.partition: lane.frontier_at(lane.frontier, note=lane.note)
            for lane in lanes
            if lane.ours and committed[lane.partition].offset < lane.frontier
        }
        if behind:
            self._reader.commit(behind, wait=False)

    def _lane(
        self,
        partition: Partition,
        shard: Shard,
        taken: Taken,
        found: Frontier,
        assignment: int,
    ) -> Lane:
        at, attempts, ours, note, _, replay, _, leader_epoch = found
        plain = partition[0] in self._plain
        if plain and taken.claimed < 0:
            # Nobody could be asked: what was settled, and what was begun, is not known.
            raise RetriableError("the ledger is away", "ledger")
        frontier = max(at, taken.floor) if plain else at
        begun, handed, failed, due, seal = taken.begun, 0, (at, attempts), 0.0, ""
        loaded = replay is None or plain
        inbox = self._inboxes.get(partition[0])
        before = self.before.get(partition)
        if before and before.assignment == assignment:
            if taken.previous == before.epoch and begun <= before.marked:
                # Nobody else had it: what we marked ahead and did not begin is not in doubt.
                begun = before.begun
            handed, seal = before.handed, before.seal
            loaded |= before.loaded
            if handed and taken.previous != before.epoch:
                # Somebody else may have had it: what he settled is not ours to repeat.
                handed = max(handed, frontier)
            if before.failed[0] >= frontier:
                failed, due = max(failed, before.failed), before.due
        return Lane(
            partition,
            shard,
            taken.epoch,
            assignment,
            frontier,
            frontier,
            first=at if partition in self._fresh else 0,
            ours=ours,
            note=note,
            told=-1 if partition in self._fresh else at,
            failed=failed,
            due=due,
            handed=handed,
            plain=plain,
            inbox=inbox is not None,
            joined=inbox is not None and inbox.joins,
            begun=begun,
            marked=taken.begun,
            seal=seal,
            replay=replay,
            loaded=loaded,
            pending=self.gaps.pending(partition[0], frontier, taken.claimed),
            leader_epoch=leader_epoch if at == frontier else -1,
        )
