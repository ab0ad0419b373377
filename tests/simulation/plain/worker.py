"""A worker of the model: the line of the plain tier, told step by step.

The words are those of `eos.consume`, `eos.claim`, `eos.handle` and `eos.settle.plain`; what
decides is their own: the rules and the ledger.
"""

from eos.core.errors import AbortableError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Mark, Refused
from eos.core.rules import Admission
from tests.simulation.plain.actor import Passed, Steps
from tests.simulation.plain.kafka import Entry
from tests.simulation.plain.lanes import Slice
from tests.simulation.plain.member import Member
from tests.simulation.plain.recovery import recover


class Worker(Member):
    """A member that takes what it reads along the line."""

    def run(self) -> Steps[None]:
        """Live."""
        while True:
            try:
                yield from self._turn()
            except AbortableError as why:
                self._drop(str(why), reopen=why.cause != "rebalance")
            except RetriableError as why:
                self._drop(str(why), reopen=True)

    def _turn(self) -> Steps[None]:
        if self.failures > 1:
            self.hear()
        self.go_back()
        yield from self.open()
        self.polling = True
        yield
        self.polling = False
        self.hear()
        if self.seeks is not None:
            yield from self.seek(self.seeks)
        generation, batch = self.generation, self.read()
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
        self.polling, self.handling, self.seeks = False, False, None
        self.reopen = reopen or bool(self.reopen)
        self.failures += reopen

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
        self.handling = True

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
