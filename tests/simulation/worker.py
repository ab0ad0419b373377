"""A worker of the model: the line, told step by step."""

from collections import deque
from dataclasses import dataclass

from eos.core.rules import HANDLED, Admission, Verdict
from tests.simulation.actor import Actor, Fate, Rewind, Steps, World
from tests.simulation.kafka import Fenced, IllegalGeneration, Outcome, Record
from tests.simulation.ledger import Claimed, Claims, Seal
from tests.simulation.recovery import recover


@dataclass(slots=True)
class Reading:
    """An opened partition."""

    epoch: int
    frontier: int
    position: int


@dataclass(slots=True)
class Batch:
    """What was read at once, and claimed under one seal."""

    generation: int
    claims: list[Claims]
    seal: Seal
    verdicts: list[Verdict]

    def records(self) -> list[Record]:
        """Give the records in the order of the verdicts."""
        return [record for claims in self.claims for record in claims.records]


class Worker(Actor):
    """One process of the consumer group; a zombie, if the group knows better."""

    idle = False
    """Nothing is left to read, as far as this worker knows."""
    asleep_until = 0
    """Until when the world lets it hang: a long pause, as of a stopped process."""
    producer = 0
    """The epoch of the transactional producer."""

    def __init__(self, world: World, name: str, slot: int) -> None:
        super().__init__(world, name)
        self.slot = slot
        self.opened = 0
        self.readings: dict[int, Reading] = {}
        self.pending: deque[Batch] = deque()

    def run(self) -> Steps[None]:
        """Live."""
        yield from self._init_producer()
        while True:
            try:
                yield from self._open()
                yield from self._consume()
            except Rewind as why:
                self.tell("rewinds: {}", why)
            except Fenced:
                self.tell("is fenced by a newer producer and stops")
                return

    # --- open -----------------------------------------------------------------------------

    def _init_producer(self) -> Steps[None]:
        yield
        self.producer = self.world.kafka.init(self.slot)
        while self.world.kafka.busy(self.slot):
            yield

    def _open(self) -> Steps[None]:
        self.pending.clear()
        self.readings.clear()
        self.opened = self.generation
        for partition in self.assigned:
            stable = self.world.on.stable_assignment
            frontier = yield from self.frontier(partition, stable=stable)
            taken = yield from self.call(
                f"take of p{partition}", lambda p=partition: self.world.ledger.take(p)
            )
            self.tell("opens p{} at {}, claimed below {}", partition, frontier, taken.claimed)
            if taken.claimed < frontier:
                yield from recover(self)
                raise Rewind("claims were lost")
            self.readings[partition] = Reading(taken.epoch, frontier, frontier)

    # --- the line -------------------------------------------------------------------------

    def _consume(self) -> Steps[None]:
        ahead = self.world.on.claims_ahead
        while True:
            yield
            if self.generation != self.opened:
                raise Rewind("the group has rebalanced")
            batch = self._read() if len(self.pending) <= (ahead and self.world.below(2)) else []
            self.idle = not batch and not self.pending
            if batch:
                yield from self._claim(batch)
            elif self.pending:
                yield from self._settle(self.pending.popleft())

    def _read(self) -> list[Claims]:
        batch = []
        for partition, reading in self.readings.items():
            log = self.world.kafka.log[partition]
            behind = [record for record in log if record.offset >= reading.position]
            records = behind[: 1 + self.world.below(3)]
            if records and (not batch or self.world.below(2)):
                start, reading.position = reading.position, records[-1].offset + 1
                batch.append(
                    Claims(
                        partition, reading.epoch, reading.frontier, start, reading.position, records
                    )
                )
        return batch

    def _claim(self, claims: list[Claims]) -> Steps[None]:
        generation = self.opened
        answer = yield from self.call("claim", lambda: self.world.ledger.claim(claims))
        if not isinstance(answer, Claimed):
            self.tell("claims {} and is refused: {}", _ranges(claims), answer.name)
            if answer is Admission.CLOSED:
                yield from recover(self)
            raise Rewind(f"claims were refused: {answer.name}")
        batch = Batch(generation, claims, answer.seal, answer.verdicts)
        self.tell("claims {}: {}", _ranges(claims), batch.verdicts)
        if self.pending and self.pending[0].seal != answer.seal:
            if self.world.on.one_seal:
                raise Rewind("the seal has changed")
            for earlier in self.pending:
                earlier.seal = answer.seal
        self.pending.append(batch)

    def _settle(self, batch: Batch) -> Steps[None]:
        on, kafka = self.world.on, self.world.kafka
        yield  # handlers run
        while kafka.busy(self.slot):
            yield
        outcomes = [Outcome(*pair) for pair in zip(batch.records(), batch.verdicts, strict=True)]
        buffered = self.world.below(2) > 0  # librdkafka: until commit at the latest
        if not buffered:
            self._produce(outcomes)
        if not on.confirm_after_offsets:
            yield from self._confirm(batch)
        yield
        self._send_offsets(batch)
        if on.confirm_after_offsets:
            yield from self._confirm(batch)
        yield
        if buffered:
            self._produce(outcomes)
            yield
        if not (yield from self._commit()):
            yield from self._init_producer()
            raise Rewind("nobody knows whether it committed")
        self.tell("committed {}", _ranges(batch.claims))
        for claims in batch.claims:
            self.readings[claims.partition].frontier = claims.end

    def _produce(self, outcomes: list[Outcome]) -> None:
        left_out = set(HANDLED) if self.world.on.audit else set(Verdict)
        if not self.world.on.audit_conflicts:
            left_out.add(Verdict.CONFLICT)
        audited = [record for record, answer in outcomes if answer not in left_out]
        self.world.kafka.produce(self.slot, self.producer, outcomes, audited)
        self.tell("produces for {}, audit {}", [str(o.record) for o in outcomes], audited)

    def _send_offsets(self, batch: Batch) -> None:
        kafka = self.world.kafka
        offsets = {claims.partition: claims.end for claims in batch.claims}
        generation = batch.generation if self.world.on.pinned_generation else self.generation
        try:
            kafka.send_offsets(self.slot, self.producer, self.name, generation, offsets)
        except IllegalGeneration:
            kafka.abort(self.slot, self.producer)
            raise Rewind("the group has another generation") from None
        self.tell("sends offsets {}", offsets)

    def _confirm(self, batch: Batch) -> Steps[None]:
        if not self.world.on.confirm:
            return
        yield
        if not self.world.ledger.confirm(batch.seal):
            self.world.kafka.abort(self.slot, self.producer)
            raise Rewind("the seal is broken, the transaction aborted")
        self.tell("confirms {}", batch.seal)

    def _commit(self) -> Steps[bool]:
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


def _ranges(claims: list[Claims]) -> str:
    return " ".join(f"p{c.partition}[{c.start}..{c.end})" for c in claims)

