"""The adversary: one seed, one random interleaving of steps and faults, then healing."""

import random
from collections.abc import Callable, Generator
from contextlib import suppress

from eos.core.errors import AbortableError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Mark
from eos.stores.memory.ledger import Snapshot
from tests.simulation.plain.actor import Fate, Passed
from tests.simulation.plain.effects import Effect
from tests.simulation.plain.kafka import Entry, Kafka
from tests.simulation.plain.ledger import LaxLedger
from tests.simulation.plain.switches import Switches
from tests.simulation.plain.worker import Worker

HEALING = 6000
"""How many steps healing may take; more would mean that something is stuck."""

PARTITIONS = 2


class World:
    """One history.

    Each history draws its own mix of faults: a world where everything happens at once hides
    what needs one fault at one place, and much progress between two.
    """

    def __init__(
        self, seed: int, policy: str, on: Switches, story: list[str] | None = None
    ) -> None:
        self.on = on
        self.policy = policy
        self.story = story
        self.violations: list[str] = []
        self.random = random.Random(seed)
        self.now = 0
        self.interval = self.random.choice((3, 20, 60))  # how far Kafka falls behind
        self.effects: list[Effect] = []
        self.rewinds: list[tuple[int, int, int]] = []
        """Announced replays: when, the partition, and where to."""
        self.interruptions = 0
        """Crashes, handlers that raised, and marks without an answer."""
        self.kafka = self._kafka()
        self.ledger = LaxLedger(on, lambda: float(self.now), self._settling)
        self.past: list[Snapshot] = []
        self.losses = 0
        self.late: list[tuple[str, Callable[[], object]]] = []
        self.live: dict[Worker, Generator[None, None, None]] = {}
        self.births = 0
        self.actor: Worker | None = None
        # The mix of this history. All but the first say how likely something is:
        self.steps = 100 + self.below(300)
        self.stay = self.random.choice((0.3, 0.9))  # the same actor makes the next step, too
        self.sleepy = self.random.choice((0.02, 0.1))  # an actor that gets its turn hangs next
        self.lossy = self.random.choice((0.0, 0.05, 0.15)) if on.lost_answers else 0.0
        self.faulty = self.random.choice((0.01, 0.03, 0.06))  # a fault
        self.postman = self.random.choice((0.002, 0.01))  # what was held up arrives
        self.faults = self._faults()

    def _faults(self) -> list[Callable[[], None]]:
        on = self.on
        chosen = [fault for fault in (self._restart, self._flush, self._restore) if self.below(2)]
        faults: list[Callable[[], None]] = []
        if on.losses and self.below(4):
            faults += chosen
        if on.crashes and self.below(2):
            faults.append(self._crash)
        if on.zombies and self.below(2):
            faults.append(self._rebalance)
        if on.appends and self.below(4):
            faults += [self._append] * 2
        if on.rewinds and not self.below(8):
            faults.append(self._seek)
        return faults or [self._crash]

    # --- what workers see -----------------------------------------------------------------

    def fate(self) -> Fate:
        """Decide what becomes of a request."""
        if self.lossy and self.chance(self.lossy):
            fates = [Fate.ANSWER_LOST, Fate.LOST, Fate.LATE]
            return fates[self.below(2 + self.on.late_packets)]
        return Fate.FINE

    def delay(self, what: str, request: Callable[[], object]) -> None:
        """Deliver a request at some time after its sender gave up, or never."""
        self.late.append((what, request))

    def chance(self, probability: float) -> bool:
        """Throw a coin."""
        return self.random.random() < probability

    def below(self, n: int) -> int:
        """Choose a number from 0 to n - 1."""
        return int(self.random.random() * n)

    def hands_out(
        self, entry: Entry, in_doubt: bool, token: int, passed: Passed
    ) -> Callable[[], None]:
        """Note that a handler gets a record; what is returned is its effect."""
        effect = Effect(entry, len(self.effects), in_doubt, token, passed, self.now)
        effect.replaced_at = self.ledger.replaced_at(entry.partition, token)
        self.effects.append(effect)

        def takes_effect() -> None:
            effect.happened_at = self.now
            replaced_at = self.ledger.replaced_at(entry.partition, token)
            effect.late = replaced_at is not None
            self.kafka.decided[entry.partition].add(entry.offset)
            self.tell("effect", "of {}", entry)

        return takes_effect

    def had_its_effect(self, entry: Entry) -> bool:
        """Tell the truth about a record's effect, as of now."""
        return any(
            e.happened_at is not None and e.entry.effect == entry.effect for e in self.effects
        )

    def failed(self) -> None:
        """Note that a record may stay in doubt: a handler raised, or a mark got no answer."""
        self.interruptions += 1

    def announced(self, partition: int, offset: int) -> None:
        """Note that the user asked for a replay."""
        self.rewinds.append((self.now, partition, offset))

    def tell(self, who: str, what: str, *values: object) -> None:
        """Tell the story, if somebody listens."""
        if self.story is not None:
            self.story.append(f"{who} {what.format(*values)}")

    # --- the history ----------------------------------------------------------------------

    def run(self) -> None:
        """Let it happen, then heal."""
        for _ in range(2 + self.below(2)):
            self._start()
        self._rebalance()
        for _ in range(self.steps):
            if self.chance(self.faulty):
                self.random.choice(self.faults)()
            else:
                self._step()
        self._heal()

    def _step(self) -> None:
        self.now += 1
        if self.late and self.chance(self.postman):
            self._deliver()
        elif self.on.losses and self.chance(0.02):
            self.past.append(self.ledger.snapshot())
        else:
            self._act()

    def _act(self) -> None:
        if self.actor is None or not self.chance(self.stay):
            awake = [w for w in self.live if w.asleep_until <= self.now]
            self.actor = self.random.choice(awake or list(self.live))
            if self.chance(self.sleepy):
                self.actor.asleep_until = self.now + 20 + self.below(120)
        next(self.live[self.actor])

    def _start(self) -> None:
        self.births += 1
        worker = Worker(self, f"w{self.births}")
        self.live[worker] = worker.run()
        self.tell(worker.name, "starts")

    def _heal(self) -> None:
        self.tell("world", "heals")
        self._deliver()
        self.lossy = self.sleepy = 0.0
        for worker in self.live:
            worker.asleep_until = 0
        self._group(list(self.live))
        for _ in range(HEALING):
            self.now += 1
            self._act()
            if self.done():
                return

    def done(self) -> bool:
        """Tell whether the members of the group have settled every record."""
        settled = {
            lane.partition
            for worker in self.live
            for lane in worker.lanes.values()
            if worker.generation == self.kafka.generation
            and worker.reopen is None
            and lane.frontier >= self.kafka.ends[lane.partition]
        }
        return len(settled) == PARTITIONS

    # --- what may befall ------------------------------------------------------------------

    def _crash(self) -> None:
        worker = self.random.choice(list(self.live))
        self.tell(worker.name, "dies")
        self.interruptions += 1
        self.live.pop(worker).close()
        if self.actor is worker:
            self.actor = None
        self._start()
        if self.below(2):
            self._rebalance()

    def _rebalance(self) -> None:
        workers = list(self.live)
        self._group(self.random.sample(workers, 1 + self.below(len(workers))))

    def _group(self, members: list[Worker]) -> None:
        for worker in self.live:  # those that poll are told in time, the others are zombies
            if worker.polling and worker.asleep_until <= self.now and self.below(2):
                worker.gives_back()
        self.kafka.rebalance([worker.name for worker in members], self.below(3))
        self.tell("group", "generation {}: {}", self.kafka.generation, self.kafka.assignment)

    def _append(self) -> None:
        if sum(map(len, self.kafka.log)) < 16:
            entry = self._entry(self.kafka, self.below(PARTITIONS))
            self.tell("producer", "appends {}", entry)

    def _seek(self) -> None:
        self.random.choice(list(self.live)).seeks = 1 + self.below(4)

    def _restart(self) -> None:
        self.tell("world", "restarts the ledger; nothing is lost")
        self.losses += 1
        self.ledger.restart()

    def _flush(self) -> None:
        self.tell("world", "flushes the ledger")
        self.losses += 1
        self.ledger.lose()

    def _restore(self) -> None:
        if self.past:
            index = self.below(len(self.past))
            self.tell("world", "restores the ledger to snapshot {} of {}", index, len(self.past))
            self.losses += 1
            self.ledger.restore(self.past[index])

    def _deliver(self) -> None:
        """Mend the network: everything that was held up arrives."""
        self.random.shuffle(self.late)
        for what, request in self.late:
            self.tell("world", "delivers {} late", what)
            with suppress(AbortableError, RetriableError):
                request()
        self.late.clear()

    # --- what it is about -----------------------------------------------------------------

    def _kafka(self) -> Kafka:
        self.keys = 1 + self.below(4)
        starts = [self.below(2) * self.below(4) for _ in range(PARTITIONS)]
        committed: list[Frontier | None] = [
            None if self.below(4) else Frontier(start, ours=False) for start in starts
        ]
        kafka = Kafka(committed, starts, self.violations.append)
        for partition in range(PARTITIONS):
            for _ in range(1 + self.below(5)):
                self._entry(kafka, partition)
        return kafka

    def _entry(self, kafka: Kafka, partition: int) -> Entry:
        key = self.below(self.keys) + (0 if self.on.copies_across else 10 * partition)
        if self.below(2):
            key += 100 * len(kafka.log[partition])  # often nobody sends it again
        return kafka.append(partition, key if self.below(10) else None, gap=not self.below(8))

    def _settling(self, mark: Mark) -> None:
        self.kafka.check(mark.partition, mark.offset, "settled")
