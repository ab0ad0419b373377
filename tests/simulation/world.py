"""The adversary: one seed, one random interleaving of steps and faults, then healing."""

import random
from collections.abc import Callable, Generator

from tests.simulation.actor import Die, Fate
from tests.simulation.calls import Seal
from tests.simulation.kafka import Fenced, Kafka, Record
from tests.simulation.ledger import Ledger
from tests.simulation.operators import Operators
from tests.simulation.switches import Switches
from tests.simulation.worker import Worker

LOSING = 0.2
"""In what share of the histories in which nobody operates a log lets go of records."""
HEALING = 6000
"""How many steps healing may take; more would mean that something is stuck."""


class World:
    """One history.

    Each history draws its own mix of faults: a world where everything happens at once hides
    what needs one fault at one place, and much progress between two.
    """

    def __init__(self, seed: int, on: Switches, story: list[str] | None = None) -> None:
        self.on = on
        self.story = story
        self.violations: list[str] = []
        self.random = random.Random(seed)
        self.now = 0
        self.tokens = 0
        self.slots = 2 + self.below(2)
        self.kafka = Kafka(self._log(), self.slots, self.violations.append)
        self.ledger = Ledger(on, lambda: self.now, self._settled)
        self.late: list[tuple[str, Callable[[], object]]] = []
        self.live: dict[Worker, Generator[None, None, None]] = {}
        self.births = [0] * self.slots
        self.actor: Worker | None = None
        if self.below(8):
            self.ledger.state.seal = Seal(self.ledger.identity, 0)
        # The mix of this history. All but the first say how likely something is:
        self.steps = 150 + self.below(450)
        self.stay = self.random.choice((0.3, 0.9))  # the same actor makes the next step, too
        self.sleepy = self.random.choice((0.05, 0.15))  # an actor that gets its turn hangs next
        self.lossy = self.random.choice((0.0, 0.15, 0.3))  # a request gets no answer
        self.faulty = self.random.choice((0.01, 0.02, 0.04))  # a fault
        self.postman = self.random.choice((0.002, 0.01))  # what was held up arrives
        self.prompt = self.random.choice((0.1, 0.4))  # a marker is written
        group = (self._crash, self._replace, self._rebalance, self._time_out)
        ledger = (self._restart, self._flush, self._roll_back)
        self.faults = [fault for fault in ledger if self.below(2)] or [self._flush]
        if self.below(2):
            self.faults += [fault for fault in group if self.below(2)]
        self.healing = self.stopped = False
        self.die = Die(-1 - seed)
        self.operators = Operators(self)
        operated = self.operators.redriver is not None or self.operators.replaying
        share = LOSING if self.on.mends else 1.0
        self.loses = self.on.gaps and not operated and self.die.chance(share)

    # --- what actors see ------------------------------------------------------------------

    def fate(self) -> Fate:
        """Decide what becomes of a request."""
        if self.lossy and self.random.random() < self.lossy:
            return Fate.LATE if self.below(4) else Fate.ANSWER_LOST
        return Fate.FINE

    def delay(self, what: str, request: Callable[[], object]) -> None:
        """Deliver a request at some time after its sender gave up, or never."""
        self.late.append((what, request))

    def below(self, n: int) -> int:
        """Choose a number from 0 to n - 1."""
        return int(self.random.random() * n)

    def window_start(self, partition: int, frontier: int) -> int:
        """Give where the window begins, for a group that has come to here."""
        return min(self.operators.window[partition], frontier)

    def stop_workers(self) -> None:
        """Let the group have no members; one may live on that was thought dead."""
        self.tell("world", "stops the workers")
        self.stopped = True
        for worker in list(self.live):
            if self.healing or self.die.chance(0.85):
                self._bury(worker)
            else:
                worker.asleep_until = self.now + self.die.below(200)
        self.kafka.rebalance([], 0)

    def start_workers(self) -> None:
        """Start them again."""
        self.stopped = False
        for slot in range(self.slots):
            self._start(slot)
        self._rebalance()

    def fails(self) -> bool:
        """Decide whether a handler fails for good."""
        return self.operators.fails()

    def appended(self, record: Record) -> None:
        """Hear that a record came into the log."""
        self.tell("log", "gets {}", record)
        for worker in self.live:
            worker.idle = False

    def token(self) -> int:
        """Give a number that is used once."""
        self.tokens += 1
        return self.tokens

    def tell(self, who: str, what: str, *values: object) -> None:
        """Tell the story, if somebody listens."""
        if self.story is not None:
            self.story.append(f"{who} {what.format(*values)}")

    # --- the history ----------------------------------------------------------------------

    def run(self) -> None:
        """Let it happen, then heal."""
        for slot in range(self.slots):
            self._start(slot)
        self._rebalance()
        for _ in range(self.steps):
            if self.random.random() < self.faulty:
                self.random.choice(self.faults)()
            else:
                self._step()
            if self.done():
                return
        self._heal()

    def done(self) -> bool:
        """Tell whether all is settled that ever is."""
        return self.kafka.done() and self.operators.done()

    def _step(self) -> None:
        self.now += 1
        self.operators.step()
        if self.loses and not self.healing and self.die.chance(0.01):
            self._lose()
        draw = self.random.random()
        if draw < self.prompt and self.kafka.unmarked:
            self._mark()
        elif not self.live:
            self.now += 0
        elif draw > 0.98:
            self._hear(self._any())
        elif draw > 0.97:
            self._expire()
        elif self.late and draw > 0.97 - self._postman():
            self._deliver()
        else:
            self._act()

    def _act(self) -> None:
        if self.actor is None or self.random.random() >= self.stay:
            busy = [w for w in self.live if not w.idle and w.asleep_until <= self.now]
            self.actor = self.random.choice(busy) if busy else self._any()
            if self.random.random() < self.sleepy:
                self.actor.asleep_until = self.now + 20 + self.below(120)
        if self.actor.idle:
            self._hear(self.actor)
        try:
            next(self.live[self.actor])
        except StopIteration:
            self._bury(self.actor)

    def _any(self) -> Worker:
        return self.random.choice(list(self.live))

    def _mark(self) -> None:
        transaction = self.kafka.unmarked[self.below(len(self.kafka.unmarked))]
        self.kafka.mark(transaction, offsets_first=self.below(2) == 0)

    def _hear(self, worker: Worker) -> None:
        """Let a client learn of the group, behind the back of its line."""
        kafka = self.kafka
        if worker.generation == kafka.generation:
            return
        if worker.name not in kafka.assignment:
            kafka.rebalance([*kafka.assignment, worker.name], self.below(3))
        # What it had in the generation just before, it did not lose.
        kept = worker.assigned if worker.generation == kafka.generation - 1 else {}
        worker.assigned = {
            partition: kept.get(partition, kafka.generation)
            for partition in kafka.assignment[worker.name]
        }
        worker.generation = kafka.generation
        self.tell(worker.name, "joins generation {}: {}", worker.generation, [*worker.assigned])

    def _start(self, slot: int) -> None:
        self.births[slot] += 1
        worker = Worker(self, f"{'abc'[slot]}{self.births[slot]}", slot)
        self.live[worker] = worker.run()
        self.tell(worker.name, "starts")

    def _bury(self, worker: Worker) -> None:
        del self.live[worker]
        if self.actor is worker:
            self.actor = None
        if not self.stopped and all(other.slot != worker.slot for other in self.live):
            self._start(worker.slot)

    def _heal(self) -> None:
        self.tell("world", "heals")
        self.healing = True
        self.lossy = self.sleepy = 0.0
        newest = {worker.slot: worker for worker in self.live}
        for worker in list(self.live):
            if worker is not newest[worker.slot]:
                self._bury(worker)
        self._rebalance()
        for _ in range(HEALING):
            draw = self.random.random()
            if draw < 0.04:
                self._evict()
            elif draw < 0.06:  # surely, in so many steps: somebody may wait for his own
                self._time_out()
            elif draw < 0.12 and self.live:
                self._hear(self._any())
            else:
                self._step()
            if self.done():
                return

    # --- what may befall ------------------------------------------------------------------

    def _crash(self) -> None:
        if not self.live:
            return
        worker = self._any()
        self.tell(worker.name, "dies")
        self._bury(worker)

    def _replace(self) -> None:
        if self.stopped:
            return
        worker = self._any()
        self.tell("world", "believes {} dead and replaces it", worker.name)
        self._start(worker.slot)

    def _rebalance(self) -> None:
        if self.stopped:
            return
        names = [worker.name for worker in self.live]
        count = 1 + self.below(len(names))
        self.kafka.rebalance(self.random.sample(names, count), self.below(3))
        self.tell("group", "generation {}: {}", self.kafka.generation, self.kafka.assignment)

    def _evict(self) -> None:
        names = {worker.name for worker in self.live}
        if not names.issuperset(self.kafka.assignment):
            self._rebalance()

    def _time_out(self) -> None:
        slot = self.below(self.slots)
        if self.kafka.time_out(slot):
            self.tell("world", "lets the transaction of slot {} time out", "abc"[slot])

    def _expire(self) -> None:
        if self.ledger.state.lock is not None:
            self.tell("world", "lets the recovery lock expire")
            self.ledger.expire_lock()

    def _restart(self) -> None:
        self.tell("world", "restarts the ledger; nothing is lost")
        self.ledger.restart()

    def _flush(self) -> None:
        self.tell("world", "flushes the ledger")
        self.ledger.flush()

    def _roll_back(self) -> None:
        states = len(self.ledger.past)
        back = self.below(8 if self.below(2) else states)  # often only the tail is lost
        self.ledger.roll_back(max(0, states - 1 - back))
        self.tell("world", "rolls the ledger back to {}", self.ledger.state)

    def _lose(self) -> None:
        partition = self.die.below(len(self.kafka.log))
        if self.kafka.settled[partition] < self.kafka.ends[partition]:
            self.loses = self.die.chance(0.3)
            self.kafka.lose(partition, 1 + self.die.below(3))
            self.tell("log", "lets go of p{}: {}", partition, self.kafka.gaps[partition])

    def _postman(self) -> float:
        """Say how likely it is now: what mends the ledger frees what is stuck before it."""
        return self.postman * (10 if self.now < self.ledger.opened_at + 15 else 1)

    def _deliver(self) -> None:
        """Mend the network: everything that was held up arrives."""
        self.random.shuffle(self.late)
        for what, request in self.late:
            try:
                answer = request()
            except Fenced:
                answer = "fenced"
            self.tell("world", "delivers {} late: {}", what, answer)
        self.late.clear()

    # --- what it is about -----------------------------------------------------------------

    def _log(self) -> list[list[Record]]:
        log = []
        keys = 1 + self.below(4)
        for partition in range(2 + self.below(2)):
            offset, records = 0, []
            for _ in range(1 + self.below(6)):
                offset += self.below(8) == 0  # a marker of the producer's transaction
                records.append(self._record(partition, offset, keys))
                offset += 1
            log.append(records)
        return log

    def _record(self, partition: int, offset: int, keys: int) -> Record:
        key = self.below(keys) + (0 if self.on.copies_across else 10 * partition)
        keyed = self.below(10) > 0
        return Record(partition, offset, key if keyed else None, int(self.below(8) == 0))

    def _settled(self, record: Record) -> None:
        if self.kafka.again:
            return  # stale floors are noticed by those who claim
        if record.offset >= self.kafka.settled[record.partition]:
            self.violations.append(f"{record} was called SETTLED above the frontier")
