"""A worker of the model: the line of the plain tier, told step by step.

The words are those of `eos.consume`, `eos.claim`, `eos.handle` and `eos.settle.plain`; what
decides is their own: the rules and the ledger.
"""

from contextlib import suppress

from eos.core.errors import AbortableError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Mark, Refused, Taken
from eos.core.rules import Admission
from tests.simulation.plain.actor import Passed, Steps, Wire, World
from tests.simulation.plain.kafka import Entry
from tests.simulation.plain.lanes import Lane, Slice
from tests.simulation.plain.recovery import recover

BATCH = 4


class Worker:
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
        """Whether its handler has a record in hand."""
        self.seeks: int | None = None
        """How far back the user is about to go, in a partition of its own."""

    def run(self) -> Steps[None]:
        """Live."""
        while True:
            try:
                yield from self._turn()
            except AbortableError as why:
                self._drop(str(why), reopen=why.cause != "rebalance")
            except RetriableError as why:
                self._drop(str(why), reopen=True)

    def tell(self, what: str, *values: object) -> None:
        """Tell the story."""
        self.world.tell(self.name, what, *values)

    def _turn(self) -> Steps[None]:
        if self.failures > 1:
            self._hear()
        self._go_back()
        yield from self._open()
        self.polling = True
        yield
        self.polling = False
        self._hear()
        if self.seeks is not None:
            yield from self._seek(self.seeks)
        generation, batch = self.generation, self._read()
        if batch:
            yield from self._claim(batch)
            yield from self._handle(batch)
            yield from self._settle(batch, generation)
            self.failures = 0
        yield
        if self.behind and self.world.now >= self.due:
            self.commit(wait=False)

    def _drop(self, why: str, *, reopen: bool) -> None:
        """Give up what is pending; rewind with the next turn."""
        self.tell("rewinds: {}", why)
        self.behind = {}
        self.polling, self.seeks = False, None
        self.reopen = reopen or bool(self.reopen)
        self.failures += reopen

    # --- reading --------------------------------------------------------------------------

    def _hear(self) -> None:
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

    def _go_back(self) -> None:
        if self.reopen is None:
            return
        reopen, self.reopen = self.reopen, None
        lanes, self.lanes = self.lanes, {}
        self.before = lanes if reopen and self.world.on.own_marks else {}
        for partition, lane in lanes.items():
            if not reopen and self.assigned.get(partition) == lane.assignment:
                lane.next = lane.frontier
                self.lanes[partition] = lane

    def _open(self) -> Steps[None]:
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
        if before and before.assignment == assignment:
            # It was ours all the time: what we marked ahead and did not begin is not in doubt.
            begun, seal = before.begun if begun <= before.marked else begun, before.seal
        marked = taken.begun if on.own_marks else 0
        self.tell("opens p{} at {}, begun {} of {}", partition, frontier, begun, taken)
        return Lane(partition, taken.epoch, assignment, frontier, frontier, begun, marked, seal)

    def _seek(self, back: int) -> Steps[None]:
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

    def _read(self) -> list[Slice]:
        batch: list[Slice] = []
        for partition, lane in self.lanes.items():
            log = self.world.kafka.log[partition]
            ahead = [entry for entry in log if entry.offset >= lane.next]
            entries = ahead[: 1 + self.world.below(BATCH)]
            if entries and (not batch or self.world.below(2)):
                start, lane.next = lane.next, entries[-1].offset + 1
                batch.append(Slice(lane, start, lane.next, entries))
        return batch

    # --- claim ----------------------------------------------------------------------------

    def _claim(self, batch: list[Slice]) -> Steps[None]:
        yield
        whole = self.world.policy == "retry" or not self.world.on.record_marks
        claims = [slice_.claims(whole=whole) for slice_ in batch]
        answer = self.wire.claim(claims)
        if isinstance(answer, Refused):
            yield from self._refused(batch, answer)
            raise AbortableError(f"claims are refused: {answer.why}", f"ledger_{answer.why.value}")
        at = 0
        for slice_, asked in zip(batch, claims, strict=True):
            places = {offset: at + index for index, offset in enumerate(asked.offsets)}
            slice_.claimed = self.world.now
            slice_.judge(asked, answer, places, self.world.on)
            at += len(places)
            self.tell("claims p{} {}", slice_.lane.partition, slice_)
            self._select(slice_)
            if not self.world.on.settled_first:
                self.behind[slice_.lane.partition] = Frontier(slice_.end)
        if not self.world.on.settled_first:
            self.commit(wait=False)

    def _refused(self, batch: list[Slice], refused: Refused) -> Steps[None]:
        begins = {}
        if refused.why is Admission.GAP:
            slice_ = next(s for s in batch if s.lane.partition == refused.partition)
            if slice_.start != slice_.lane.frontier:
                return
            begins = {refused.partition: slice_.start}
        if refused.why is not Admission.FENCED:
            self.tell("recovers: {}", refused.why.value)
            yield from recover(self.world, self.wire, self.name, begins, set(self.assigned))

    def _select(self, slice_: Slice) -> None:
        """Keep what is to be handled, by the policy."""
        policy, kept = self.world.policy, []
        for entry, doubt in slice_.kept:
            if not doubt or policy == "retry":
                kept.append((entry, doubt))
            elif policy == "dead_letter":
                slice_.rejected.append(entry)
            elif policy == "reconcile" and (
                self.world.on.asked_late or not self.world.had_its_effect(entry)
            ):
                kept.append((entry, doubt))
        slice_.kept = kept

    # --- handle ---------------------------------------------------------------------------

    def _handle(self, batch: list[Slice]) -> Steps[None]:
        for slice_ in batch:
            for entry, doubt in slice_.kept:
                marked = yield from self._begin(slice_, entry)
                yield
                if doubt and self._reconciled(entry):
                    continue
                if not (yield from self._handler(slice_, entry, doubt, marked)):
                    slice_.cut(entry.offset)
                    slice_.lane.next = entry.offset
                    break

    def _begin(self, slice_: Slice, entry: Entry) -> Steps[int]:
        """Mark it, unless that is done; give when it was done."""
        lane, marked = slice_.lane, slice_.claimed
        mark = Mark(lane.partition, lane.epoch, entry.offset + 1)
        if lane.marked < mark.offset:
            yield
            self._mark(slice_, mark)
            marked = self.world.now
        lane.begun = max(lane.begun, mark.offset)
        return marked

    def _mark(self, slice_: Slice, mark: Mark) -> None:
        try:
            admitted = self.wire.begin(slice_.seal, mark)
        except RetriableError:
            self.world.failed()  # it may have been written, and nobody can tell whose it is
            raise
        if not admitted:
            raise AbortableError("the ledger was re-sealed, or we were replaced", "ledger_mark")
        slice_.lane.marked = mark.offset

    def _reconciled(self, entry: Entry) -> bool:
        """Ask the user's function whether there is nothing left to do."""
        world = self.world
        asks = world.policy == "reconcile" and world.on.asked_late
        done = asks and world.had_its_effect(entry)
        if done:
            world.kafka.decided[entry.partition].add(entry.offset)
        return done

    def _handler(self, slice_: Slice, entry: Entry, doubt: bool, marked: int) -> Steps[bool]:
        """The user's code: False if it raises."""
        world, passed = self.world, Passed(slice_.claimed, marked)
        self.handling = True
        self.tell("hands out {}{}", entry, " in doubt" if doubt else "")
        takes_effect = world.hands_out(entry, doubt, slice_.lane.epoch, passed)
        yield
        raises = world.on.failures and world.chance(0.02)
        if not raises or world.below(2):
            takes_effect()
        if raises:
            self.tell("sees the handler of {} raise", entry)
            world.failed()
        self.handling = False
        return not raises

    # --- settle ---------------------------------------------------------------------------

    def _settle(self, batch: list[Slice], generation: int) -> Steps[None]:
        for slice_ in batch:
            self._decide(slice_)
        if effects := [slice_ for slice_ in batch if not slice_.rejected]:
            yield
            self._tell_ledger(effects)
            for slice_ in effects:
                slice_.lane.frontier = slice_.end
                if not self.behind:
                    self.due = self.world.now + self.world.interval
                self.behind[slice_.lane.partition] = Frontier(slice_.end)
            self.tell("settles {}", {s.lane.partition: s.end for s in effects})
        for slice_ in batch:
            if slice_.rejected:
                yield
                self.tell("rejects {}", [str(entry) for entry in slice_.rejected])
                ends = {slice_.lane.partition: Frontier(slice_.end)}
                self.wire.transact(generation, ends, slice_.rejected)
                slice_.lane.frontier = slice_.end
                yield
                self._tell_ledger([slice_])

    def _tell_ledger(self, slices: list[Slice]) -> None:
        marks = [Mark(s.lane.partition, s.lane.epoch, s.end) for s in slices]
        if self.wire.settle(slices[0].seal, marks) is Admission.FENCED:
            raise AbortableError("somebody else has taken a partition over", "ledger_fenced")

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

    def _decide(self, slice_: Slice) -> None:
        """Note, for the check alone, which positions need nothing more."""
        kafka = self.world.kafka
        decided = kafka.decided[slice_.lane.partition]
        pending = {entry.offset for entry, _ in slice_.kept}
        pending.update(entry.offset for entry in slice_.rejected)
        for entry, (verdict, _) in zip(slice_.entries, slice_.verdicts, strict=False):
            if verdict.value == "settled" and entry.offset not in decided:
                kafka.accuse(f"early: {entry} was called SETTLED, and is undecided")
            if entry.offset not in pending:
                decided.add(entry.offset)


