"""A worker of the model: the line, told step by step."""

from collections.abc import Generator
from dataclasses import dataclass, field

from eos.core.rules import HANDLED, Admission, Verdict
from tests.simulation.actor import Actor, Fate, Rewind, Steps, World
from tests.simulation.kafka import Fenced, IllegalGeneration, Outcome
from tests.simulation.ledger import Claims, Refused, Seal
from tests.simulation.recovery import recover


@dataclass(slots=True)
class Lane:
    """An open partition."""

    epoch: int
    assignment: int
    frontier: int
    next: int


@dataclass(slots=True)
class Batch:
    """What one transaction settles: claimed under one seal, read under one generation."""

    generation: int
    seal: Seal
    outcomes: list[Outcome] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    calls: int = 0


class Worker(Actor):
    """One process of the consumer group; a zombie, if the group knows better."""

    def __init__(self, world: World, name: str, slot: int) -> None:
        super().__init__(world, name)
        self.slot = slot
        self.producer = 0
        """The epoch of the transactional producer."""
        self.opened = 0
        """The generation as the line knows it."""
        self.lanes: dict[int, Lane] = {}
        self.gathered: Batch | None = None
        self.committing: Generator[None, None, None] | None = None
        self.idle = False
        """Nothing is left to do, as far as this worker knows."""
        self.asleep_until = 0
        """Until when it hangs, as a stopped process does."""

    def run(self) -> Steps[None]:
        """Live, until a newer producer fences this one."""
        try:
            yield from self._init_producer()
            while True:
                try:
                    yield from self._open()
                    yield from self._take_turns()
                except Rewind as why:
                    yield from self._drop(why)
        except Fenced:
            self.tell("is fenced by a newer producer, and stops")

    # --- open and rewind ------------------------------------------------------------------

    def _init_producer(self) -> Steps[None]:
        yield
        self.producer = self.world.kafka.init(self.slot)
        while self.world.kafka.busy(self.slot):
            yield

    def _open(self) -> Steps[None]:
        """Read frontiers and take epochs; lanes that stayed through a rebalance are kept."""
        self.opened, assigned = self.generation, self.assigned
        kept = {p: lane for p, lane in self.lanes.items() if assigned.get(p) == lane.assignment}
        self.lanes = {}
        for partition, assignment in assigned.items():
            if lane := kept.get(partition):
                lane.next = lane.frontier
            else:
                stable = self.world.on.stable_assignment
                frontier = yield from self.frontier(partition, stable=stable)
                epoch = yield from self._take(partition)
                lane = Lane(epoch, assignment, frontier, frontier)
                self.tell("opens p{} at {}", partition, frontier)
            self.lanes[partition] = lane

    def _take(self, partition: int) -> Steps[int]:
        ledger = self.world.ledger
        return (yield from self.call(f"take of p{partition}", lambda: ledger.take(partition)))

    def _drop(self, why: Rewind) -> Steps[None]:
        """Give up what is pending. A transaction under way comes to its end first."""
        self.tell("rewinds: {}", why)
        self.gathered = None
        if not why.keeps_lanes:
            self.lanes = {}
        transaction, self.committing = self.committing, None
        if transaction is not None:
            try:
                yield from transaction
            except Rewind as graver:
                self.tell("gives up its transaction, too: {}", graver)
                self.lanes = {}
        self.world.kafka.abort(self.slot, self.producer)
        while why.waits and self.world.ledger.state.lock is not None:
            yield

    # --- the line -------------------------------------------------------------------------

    def _take_turns(self) -> Steps[None]:
        """Claim, and beside it bring the transaction of what was claimed before to its end."""
        while True:
            yield
            if self.generation != self.opened:
                raise Rewind("the group has rebalanced", keeps_lanes=True)
            batch = self._read() if self._may_claim() else []
            self.idle = not batch and self.gathered is None and self.committing is None
            if batch:
                yield from self._claim(batch)
            elif self.committing is not None:
                self._go_on(self.committing)
            elif self.gathered is not None:
                self.committing, self.gathered = self._settle(self.gathered), None

    def _may_claim(self) -> bool:
        """Choose between claiming and settling, where both could be next."""
        if self.gathered is None and self.committing is None:
            return True
        if not self.world.on.claims_ahead or (self.gathered and self.gathered.calls > 1):
            return False
        return self.world.below(3) == 0

    def _go_on(self, transaction: Generator[None, None, None]) -> None:
        try:
            next(transaction)
        except StopIteration:
            self.committing = None

    def _read(self) -> list[Claims]:
        batch: list[Claims] = []
        for partition, lane in self.lanes.items():
            log = self.world.kafka.log[partition]
            records = [r for r in log if r.offset >= lane.next][: 1 + self.world.below(3)]
            if records and (not batch or self.world.below(2)):
                start, lane.next = lane.next, records[-1].offset + 1
                batch.append(
                    Claims(partition, lane.epoch, lane.frontier, start, lane.next, records)
                )
        return batch

    def _claim(self, claims: list[Claims]) -> Steps[None]:
        ledger = self.world.ledger
        answer = yield from self.call("claim", lambda: ledger.claim(claims))
        self.tell("claims {}: {}", _ranges(claims), answer)
        if isinstance(answer, Refused):
            yield from self._refused(claims, answer)
            raise Rewind(answer.why.name)
        batch = self.gathered
        if batch is None:
            batch = self.gathered = Batch(self.opened, answer.seal)
        if batch.seal != answer.seal:
            if self.world.on.one_seal:
                raise Rewind("the seal has changed")
            batch.seal = answer.seal
        records = (record for part in claims for record in part.records)
        batch.outcomes += map(Outcome, records, answer.verdicts)
        batch.ends.update({part.partition: part.end for part in claims})
        batch.calls += 1

    def _refused(self, claims: list[Claims], refused: Refused) -> Steps[None]:
        """Do what brings the claims to be taken next time."""
        if refused.why is Admission.CLOSED:
            yield from recover(self)
        if refused.why is Admission.GAP:
            part = next(part for part in claims if part.partition == refused.partition)
            if part.start == part.frontier:  # the ledger itself lacks what was settled
                yield from recover(self)

    # --- a transaction --------------------------------------------------------------------

    def _settle(self, batch: Batch) -> Steps[None]:
        on, kafka = self.world.on, self.world.kafka
        while kafka.busy(self.slot):
            yield
        buffered = self.world.below(2) > 0  # a client sends what it has until commit at the latest
        if not buffered:
            self._produce(batch)
        if not on.confirm_after_offsets:
            yield from self._confirm(batch)
        yield
        self._send_offsets(batch)
        if on.confirm_after_offsets:
            yield from self._confirm(batch)
        yield
        if buffered:
            self._produce(batch)
            yield
        if not (yield from self._commit()):
            yield from self._resolve(batch)
        self.tell("has committed {}", batch.ends)
        for partition, end in batch.ends.items():
            if partition in self.lanes:
                self.lanes[partition].frontier = end

    def _produce(self, batch: Batch) -> None:
        unaudited = set(HANDLED) if self.world.on.audit else set(Verdict)
        if not self.world.on.audit_conflicts:
            unaudited.add(Verdict.CONFLICT)
        audited = [record for record, verdict in batch.outcomes if verdict not in unaudited]
        self.world.kafka.produce(self.slot, self.producer, batch.outcomes, audited)
        self.tell("produces for {}", " ".join(f"{r}:{v}" for r, v in batch.outcomes))

    def _send_offsets(self, batch: Batch) -> None:
        kafka = self.world.kafka
        generation = batch.generation if self.world.on.pinned_generation else self.generation
        try:
            kafka.send_offsets(self.slot, self.producer, self.name, generation, batch.ends)
        except IllegalGeneration:
            raise Rewind("the group has another generation") from None
        self.tell("sends offsets {}", batch.ends)

    def _confirm(self, batch: Batch) -> Steps[None]:
        if not self.world.on.confirm:
            return
        yield
        if not self.world.ledger.confirm(batch.seal):
            raise Rewind("the seal is broken")
        self.tell("confirms {}", batch.seal)

    def _commit(self) -> Steps[bool]:
        """Commit; False if nobody knows whether it did."""
        kafka, slot, epoch = self.world.kafka, self.slot, self.producer
        while True:
            fate = self.world.fate()
            if fate is not Fate.LATE:
                kafka.commit(slot, epoch)
            if fate is Fate.FINE:
                return True
            self.tell("gets no answer to its commit")
            if fate is Fate.LATE:
                self.world.delay(f"{self.name}'s commit", lambda: kafka.commit(slot, epoch))
            if self.world.on.renewed_producer:
                return False
            yield

    def _resolve(self, batch: Batch) -> Steps[None]:
        """A new producer makes the outcome final; the committed offsets tell it."""
        yield from self._init_producer()
        for partition, end in batch.ends.items():
            if (yield from self.frontier(partition, stable=True)) != end:
                raise Rewind("the commit did not take place")


def _ranges(claims: list[Claims]) -> str:
    return " ".join(f"p{part.partition}[{part.start}..{part.end})" for part in claims)
