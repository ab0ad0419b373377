"""A member of the group, as the model's worker is one: it opens, reads, rewinds and commits.

The words are those of `eos.consume`.
"""

from contextlib import suppress

from eos.core.errors import AbortableError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Mark, Refused, Taken
from tests.simulation.plain.actor import Steps, Wire, World
from tests.simulation.plain.lanes import Lane, Slice
from tests.simulation.plain.recovery import recover

BATCH = 4


class Member:
    """One process of the consumer group; a zombie, if the group knows better."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.wire = Wire(world, name)
        self.generation = 0
        """The generation that the client joined."""
        self.assigned: dict[int, int] = {}
        """The number of each partition's assignment: it changes when the partition was lost."""
        self.lanes: dict[int, Lane] = {}
        self.before: dict[int, Lane] = {}
        self.reopen: bool | None = None
        self.failures = 0
        """In a row: after the second it waits, and learns of the group meanwhile."""
        self.behind: dict[int, Frontier] = {}
        self.due = 0
        self.asleep_until = 0
        self.polling = False
        """Whether it stands in its poll, where it can be told of rebalances."""
        self.handling = False
        """Whether it has a record in hand that is marked."""
        self.seeks: int | None = None
        """How far back the user is about to go, in a partition of its own."""

    def tell(self, what: str, *values: object) -> None:
        """Tell the story."""
        self.world.tell(self.name, what, *values)

    def hear(self) -> None:
        """Learn of the group's newest generation, sooner or later."""
        kafka = self.world.kafka
        if self.generation == kafka.generation or not self.world.chance(0.7):
            return
        if self.name not in kafka.assignment:
            kafka.rebalance([*kafka.assignment, self.name], self.world.below(3))
        # What it had in the generation just before, it did not lose.
        kept = self.assigned if self.generation == kafka.generation - 1 else {}
        self.assigned = {p: kept.get(p, kafka.generation) for p in kafka.assignment[self.name]}
        self.generation = kafka.generation
        self.tell("joins generation {}: {}", self.generation, [*self.assigned])
        raise AbortableError("the group's assignment changed", "rebalance")

    def go_back(self) -> None:
        """Carry out a rewind that was asked for."""
        if self.reopen is None:
            return
        reopen, self.reopen = self.reopen, None
        lanes, self.lanes = self.lanes, {}
        self.before = lanes if reopen and self.world.on.own_marks else {}
        for partition, lane in lanes.items():
            if not reopen and self.assigned.get(partition) == lane.assignment:
                lane.next = lane.frontier
                self.lanes[partition] = lane

    def open(self) -> Steps[None]:
        """Open what is assigned and not open yet."""
        kafka, on = self.world.kafka, self.world.on
        closed = [p for p in self.assigned if p not in self.lanes]
        if not closed:
            return
        yield
        frontiers = {
            p: found if (found := kafka.committed[p]) else Frontier(kafka.starts[p], ours=False)
            for p in closed
        }
        begins = {p: Frontier(found.offset) for p, found in frontiers.items() if not found.ours}
        if begins and on.committed_beginning:
            yield from self._begin_partitions(begins)
        yield
        for partition, taken in self.wire.take(closed).items():
            self.lanes[partition] = self._lane(partition, taken, frontiers[partition].offset)

    def _begin_partitions(self, begins: dict[int, Frontier]) -> Steps[None]:
        """Commit where partitions begin. What is committed under a closed ledger is in doubt."""
        if self.world.on.open_before_beginning:
            yield
            if isinstance(self.wire.claim([]), Refused):
                self.tell("recovers before it begins")
                yield from recover(self.world, self.wire, self.name, {}, set(self.assigned))
        yield
        self.tell("commits where it begins: {}", {p: begin.offset for p, begin in begins.items()})
        self.wire.commit(self.generation, begins)

    def _lane(self, partition: int, taken: Taken, committed: int) -> Lane:
        on, assignment = self.world.on, self.assigned[partition]
        frontier = max(committed, taken.floor) if on.open_at_floor else committed
        begun, seal, before = taken.begun, "", self.before.pop(partition, None)
        if on.marks_of_epoch and before and self.world.ledger.previous[partition] != before.epoch:
            before = None
        if before and before.assignment == assignment:
            # It was ours all the time: what we marked ahead and did not begin is not in doubt.
            begun, seal = before.begun if begun <= before.marked else begun, before.seal
        self.tell("opens p{} at {}, begun {} of {}", partition, frontier, begun, taken)
        return Lane(
            partition, taken.epoch, assignment, frontier, frontier, begun, taken.begun, seal
        )

    def seek(self, back: int) -> Steps[None]:
        """Carry out an announced replay: the ledger first, then Kafka, then the lane."""
        self.seeks = None
        starts = self.world.kafka.starts
        lanes = [lane for lane in self.lanes.values() if lane.frontier > starts[lane.partition]]
        if not lanes:
            return
        lane = lanes[self.world.below(len(lanes))]
        partition = lane.partition
        to = max(starts[partition], lane.frontier - back)
        self.world.announced(partition, to)
        self.tell("goes back in p{} to {}", partition, to)
        yield
        if not self.wire.rewind([Mark(partition, lane.epoch, to)]):
            raise AbortableError("somebody else has taken the partition over", "ledger_fenced")
        self.behind.pop(partition, None)
        lane.frontier = lane.next = to
        lane.begun, lane.marked = min(lane.begun, to), min(lane.marked, to)
        yield
        self.wire.commit(self.generation, {partition: Frontier(to)})

    def read(self) -> list[Slice]:
        """Read some of what stands next in open lanes."""
        batch: list[Slice] = []
        for partition, lane in self.lanes.items():
            log = self.world.kafka.log[partition]
            ahead = [entry for entry in log if entry.offset >= lane.next]
            entries = ahead[: 1 + self.world.below(BATCH)]
            if entries and (not batch or self.world.below(2)):
                start, lane.next = lane.next, entries[-1].offset + 1
                batch.append(Slice(lane, start, lane.next, entries))
        return batch

    def commit(self, *, wait: bool) -> None:
        """Let Kafka's committed offsets follow, in partitions that are still ours."""
        behind, self.behind = self.behind, {}
        ours = {p: frontier for p, frontier in behind.items() if p in self.assigned}
        if not ours:
            return
        self.tell("commits {}", {p: frontier.offset for p, frontier in ours.items()})
        if wait:
            self.wire.commit(self.generation, ours)
            return
        with suppress(AbortableError, RetriableError):  # nobody waits for the answer
            self.wire.commit(self.generation, ours)

    def gives_back(self) -> None:
        """Do what is done before partitions are given back, from within the poll."""
        with suppress(AbortableError, RetriableError):
            self.commit(wait=True)
