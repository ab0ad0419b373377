"""A worker of the model: the line, told step by step."""

from collections.abc import Generator, Iterator

from eos.core.frontier import Frontier
from eos.core.ports import Suppressed
from eos.core.rules import HANDLED, Admission, Verdict
from tests.simulation.actor import Actor, Fate, Rewind, Steps, World
from tests.simulation.calls import Claimed, Claims, Refused
from tests.simulation.gaps import mend
from tests.simulation.kafka import Fenced, IllegalGeneration, Outcome
from tests.simulation.lanes import Batch, Lane, places, ranges, told
from tests.simulation.ledger import owner_of
from tests.simulation.recovery import load, recover


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
        self.loaded: dict[int, int] = {}
        """Under which assignment it had what a partition replays put back."""
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
                except IllegalGeneration:
                    yield from self._drop(Rewind("the group has another generation"))
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
                at = yield from self.frontier(partition, stable=stable)
                epoch = yield from self._take(partition)
                loaded = at.replay is None or self.loaded.get(partition) == assignment
                lane = Lane(epoch, assignment, at.offset, at.offset, at.replay, loaded)
                if at.offset in (gap := self.world.kafka.gaps[partition]):
                    lost = range(at.offset, gap.stop)
                    yield from mend(self, partition, assignment, epoch, lost)
                    raise Rewind("a gap was mended")
                self.tell("opens p{} at {}", partition, told(at))
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
            if lane.next in self.world.kafka.gaps[partition]:
                raise Rewind("the position is gone")
            records = [r for r in log if r.offset >= lane.next][: 1 + self.world.below(3)]
            if records and (not batch or self.world.below(2)):
                start, lane.next = lane.next, records[-1].offset + 1
                batch.append(
                    Claims(partition, lane.epoch, lane.frontier, start, lane.next, records)
                )
        return batch

    def _claim(self, claims: list[Claims]) -> Steps[None]:
        ledger = self.world.ledger
        yield from self._load(claims)
        answer = yield from self.call("claim", lambda: ledger.claim(claims))
        self.tell("claims {}: {}", ranges(claims), answer)
        if isinstance(answer, Refused):
            yield from self._refused(claims, answer)
            raise Rewind(answer.why.name)
        yield from self._check_floors(answer)
        batch = self.gathered
        if batch is None:
            batch = self.gathered = Batch(self.opened, answer.seal)
        if batch.seal != answer.seal:
            if self.world.on.one_seal:
                raise Rewind("the seal has changed")
            batch.seal = answer.seal
        records = (record for part in claims for record in part.records)
        for record, found, owner in zip(records, answer.verdicts, answer.owners, strict=True):
            replay = self.lanes[record.partition].replay
            if replay is None or replay.handles(record.offset, record.digest):
                failed = found in HANDLED and self.world.fails()
                batch.outcomes.append(Outcome(record, found, owner, failed))
        for part in claims:
            batch.ends[part.partition] = self.lanes[part.partition].at(part.end)
        batch.calls += 1

    def _check_floors(self, answer: Claimed) -> Steps[None]:
        """A floor above the frontier of a replay is one from before it: take it back."""
        lanes = self.lanes
        stale = {
            partition: (lanes[partition].epoch, lanes[partition].frontier)
            for partition, floor in answer.floors.items()
            if lanes[partition].replayed and floor > lanes[partition].frontier
        }
        if stale and self.world.on.replay_floor_checked:
            yield from self.call("rewind", lambda: (self.world.ledger.rewind(stale),))
            raise Rewind("the floor was one from before the replay")

    def _load(self, claims: list[Claims]) -> Steps[None]:
        """Let the ledger know what it may have forgotten, before that is handled again."""
        lanes = {part.partition: self.lanes[part.partition] for part in claims}
        again = {
            partition: range(lane.frontier, lane.replay.peak)
            for partition, lane in lanes.items()
            if lane.replay is not None and not lane.loaded
        }
        if again and self.world.on.replay_loads:
            yield from load(self, again)
            self.loaded.update({partition: lanes[partition].assignment for partition in again})
            raise Rewind("the owners of a replay were put back")

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
        self.tell("has committed {}", places(batch.ends))
        for partition, end in batch.ends.items():
            if partition in self.lanes:
                self.lanes[partition].frontier = end.offset

    def _produce(self, batch: Batch) -> None:
        audited = list(self._audit(batch.outcomes)) if self.world.on.audit else []
        self.world.kafka.produce(self.slot, self.producer, batch.outcomes, audited)
        told = (f"{o.record}:{o.verdict}{' failed' * o.failed}" for o in batch.outcomes)
        self.tell("produces for {}", " ".join(told))

    def _audit(self, outcomes: list[Outcome]) -> Iterator[Suppressed]:
        """Give what is settled and owns no key: what was suppressed, letters that gave theirs."""
        on = self.world.on
        for record, found, owner, _ in outcomes:
            if owner is not None and (on.audit_conflicts or found is not Verdict.CONFLICT):
                place = record.partition, record.offset
                yield Suppressed(*place, record.digest, owner, found, 0, None)
            if record.redriven and found in HANDLED and on.audit_redriven:
                place, fresh = record.redriven, Verdict.FRESH
                yield Suppressed(*place, record.digest, owner_of(record), fresh, 0, None)

    def _send_offsets(self, batch: Batch) -> None:
        kafka = self.world.kafka
        generation = batch.generation if self.world.on.pinned_generation else self.generation
        ends = batch.ends
        if not self.world.on.replay_carried:
            ends = {partition: Frontier(end.offset) for partition, end in ends.items()}
        try:
            kafka.send_offsets(self.slot, self.producer, self.name, generation, ends)
        except IllegalGeneration:
            raise Rewind("the group has another generation") from None
        self.tell("sends offsets {}", places(ends))

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
            if (yield from self.frontier(partition, stable=True)).offset != end.offset:
                raise Rewind("the commit did not take place")
