"""The workers that a storm over the ledger strikes, one kind for each tier, and its two runs."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from tests.fault.chaos.crew import HOME
from tests.fault.chaos.evidence import Evidence
from tests.fault.chaos.nemesis import World
from tests.fault.chaos.run import Chaos, Plan
from tests.fault.chaos.worker import TRANSACTION_POINTS, Point, name, trap
from tests.fault.ledger_storm import Storm
from tests.fault.ledger_storm_servers import Pair
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Teller

RECORDS_PER_SECOND = 120
TRANSFERS_PER_SECOND = 60
LONGEST_LOAD_SECONDS = 3600.0
_NOTICED_SECONDS = 3.0
_STEPS = 150
_MOST_WAITING = 100
_SETTLED_SECONDS = 240.0
WHERE = (
    "after ledger.claim",
    "before ledger.confirm",
    "after ledger.confirm",
    "before do_commit",
    "after UPDATE eos_frontiers",
)

# --- transaction tier -----------------------------------------------------------------------


@dataclass
class Chaotic(World):
    """The workers of a chaos."""

    chaos: Chaos | None = None

    def stop_one(self, chance: random.Random) -> str:
        """Stop one of them at a crash point."""
        point, pids = chance.choice(self.points), self.crew.pids()
        if not pids:
            return ""
        slot = chance.choice(sorted(pids))
        path = trap(self.folder, name(HOME, slot), point)
        path.touch()
        if wait_until(lambda: not path.exists(), seconds=_NOTICED_SECONDS, every=0.02):
            self.stopped[slot] = pids[slot]
            return f"worker {slot} {' '.join(point)}"
        path.unlink(missing_ok=True)
        return ""

    def go_on(self) -> None:
        """Let the one that was stopped go on."""
        for pid in self.stopped.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped = {}

    def kill_one(self, chance: random.Random) -> str:
        """Kill one; the pool starts another."""
        pids = self.crew.pids()
        if not pids:
            return ""
        slot = chance.choice(sorted(pids))
        with suppress(ProcessLookupError):
            os.kill(pids[slot], signal.SIGKILL)
        return f"worker {slot} was killed"

    def progress(self) -> int:
        """Tell how many offsets are committed."""
        assert self.chaos
        assert not self.crew.failure, self.crew.failure
        samples = self.chaos.sampler.samples
        return sum(samples[-1].committed.values()) if samples else 0

    def look(self) -> None:
        """Nothing can be told before all is settled."""


def storm_over_transactions(
    stack: Stack,
    pair: Pair,
    folder: Path,
    rounds: int,
    *,
    points: tuple[Point, ...] = TRANSACTION_POINTS,
    plan: Plan | None = None,
    **how: object,
) -> tuple[Storm, Evidence]:
    """Let it storm while workers move records from topic to topics, and give what is left.

    Args:
        stack: The brokers.
        pair: What the ledger is kept in.
        folder: Where everything about it is kept.
        rounds: How often each misfortune happens.
        points: Where workers are stopped.
        plan: What else the run is made of; default: the group moves, too.
        **how: More about the storm.
    """
    plan = plan or Plan(seconds=LONGEST_LOAD_SECONDS, rate=RECORDS_PER_SECOND, harms=("moves",))
    plan.settings["ledger"] = pair.url
    chaos = Chaos(plan, stack, folder)
    workers = Chaotic(stack, chaos.crew, [], folder, plan.session, points, False, chaos=chaos)
    storm = Storm(pair, workers, rounds, seed=plan.seed, **how)  # type: ignore[arg-type]
    return storm, chaos.run(lambda _: storm.run())


# --- inbox tier -----------------------------------------------------------------------------


@dataclass
class Tellers:
    """The workers of a bank: each is told when it is started where it will stop, or die.

    Attributes:
        crew: All of them.
        where: The steps at which they stop when their gate is closed.
        deaths: How likely one is to die of itself instead, at any step.
        batches: How likely its handler takes batches; others lock accounts in any order, and meet
            deadlocks.
        stopped: Those that are stopped.
    """

    crew: Crew
    where: tuple[str, ...] = WHERE
    deaths: float = 1 / 3
    batches: float = 1 / 2
    stopped: list[Teller] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def stop_one(self, chance: random.Random) -> str:
        """Close the gate of one, and wait until it has stopped there."""
        teller = chance.choice(self.crew.tellers)
        before = len(teller.notes("fault"))
        teller.gate.touch()
        stopped = wait_until(
            lambda: len(teller.notes("fault")) > before, seconds=_NOTICED_SECONDS, every=0.02
        )
        teller.gate.unlink(missing_ok=True)
        if not stopped:
            return ""
        self.stopped.append(teller)
        return f"teller {teller.slot} {teller.notes('fault')[-1]['where']}"

    def go_on(self) -> None:
        """Let whoever was stopped go on."""
        with self._lock:
            for teller in self.stopped:
                if teller.alive:
                    teller.go_on()
            self.stopped.clear()

    def kill_one(self, chance: random.Random) -> str:
        """Kill one; its successor may die of itself at some step."""
        teller = chance.choice(self.crew.tellers)
        with self._lock:
            self._kill(teller)
            self._serve(teller, chance)
        return f"teller {teller.slot} was killed"

    def revive(self, chance: random.Random) -> None:
        """Start successors of those that died at their step."""
        for teller in self.crew.tellers:
            with self._lock:
                if not teller.alive:
                    assert teller.exit_code() == -signal.SIGKILL, teller.told()
                    self.crew.kills += 1
                    self._serve(teller, chance)

    def begin(self, chance: random.Random) -> None:
        """Replace all by workers that will stop, or die."""
        for teller in self.crew.tellers:
            self._kill(teller)
            self._serve(teller, chance)

    def calm(self) -> None:
        """Replace all by workers that will neither stop nor die."""
        for teller in self.crew.tellers:
            self._kill(teller)
            teller.serve()

    def progress(self) -> int:
        """Tell how many transfers were done."""
        return self.crew.bank.done()

    def feed(self) -> None:
        """Send a few more transfers, unless too many wait.

        Who lags behind holds records whose copies were handled elsewhere long ago: no misfortune
        would tell of them.
        """
        bank = self.crew.bank
        if sum(map(len, bank.records.values())) - sum(bank.rows().values()) < _MOST_WAITING:
            bank.send(TRANSFERS_PER_SECOND // 10)

    def look(self) -> None:
        """See that nothing was done twice."""
        self.crew.bank.assert_whole()

    def _serve(self, teller: Teller, chance: random.Random) -> None:
        teller.batch = chance.random() < self.batches
        if chance.random() < self.deaths:
            teller.serve(chance.randrange(1, _STEPS))
        else:
            teller.serve(where=chance.choice(self.where), action="stop")

    def _kill(self, teller: Teller) -> None:
        assert teller.process
        teller.process.kill()
        assert teller.exit_code() == -signal.SIGKILL, teller.told()
        self.crew.kills += 1


@contextmanager
def _every(seconds: float, act: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Do something at an even pace while the block lasts; what is given raises if it failed."""
    done, failures = threading.Event(), list[BaseException]()

    def go() -> None:
        due = time.monotonic()
        try:
            while not done.wait(max(0.0, due - time.monotonic())):
                due = max(due + seconds, time.monotonic() - 1.0)
                act()
        except BaseException as error:  # noqa: BLE001 the test raises it in its own thread
            failures.append(error)

    def healthy() -> None:
        if failures:
            raise failures[0]

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield healthy
    finally:
        done.set()
        thread.join()
    healthy()


def storm_over_tellers(
    crew: Crew, pair: Pair, rounds: int, *, where: tuple[str, ...] = (), **how: object
) -> Storm:
    """Let it storm while tellers move a bank's money, then see that all of it moved once.

    Args:
        crew: The tellers.
        pair: What the ledger is kept in.
        rounds: How often each misfortune happens.
        where: The steps at which tellers stop, if only there; then none dies of itself, or meets
            deadlocks.
        **how: More about the storm.
    """
    tellers = Tellers(crew, where, deaths=0.0, batches=1.0) if where else Tellers(crew)
    storm = Storm(pair, tellers, rounds, seed=crew.bank.seed, **how)  # type: ignore[arg-type]
    chance = random.Random(f"{storm.seed} deaths")
    crew.bank.send(10)
    crew.wait(lambda: crew.bank.done() > 0)
    tellers.begin(chance)
    with (
        _every(0.1, tellers.feed) as loaded,
        _every(0.2, lambda: tellers.revive(chance)) as revived,
    ):

        def healthy() -> None:
            loaded()
            revived()

        storm.run(healthy)
    tellers.calm()
    crew.wait(crew.bank.is_settled, _SETTLED_SECONDS)
    crew.finish()
    crew.bank.assert_exact()
    return storm
