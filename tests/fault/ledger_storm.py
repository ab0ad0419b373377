"""A storm over the ledger: all that may befall a Redis, under load, while workers are killed."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eos.devstack.waiting import wait_until
from tests.fault.ledger_storm_servers import Pair

SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**6))))
ALL = (
    "FLUSHALL",
    "restart without persistence",
    "fail-over",
    "old dump",
    "out of memory",
    "SCRIPT FLUSH",
)
LONGEST_PAUSE = 2.5
_SECONDS = 120.0


class Workers(Protocol):
    """What a storm does to workers."""

    def stop_one(self, chance: random.Random) -> str:
        """Stop whoever comes by a crash point, and say which; empty if nobody does."""

    def go_on(self) -> None:
        """Let whoever was stopped go on."""

    def kill_one(self, chance: random.Random) -> str:
        """Kill one as `kill -9` does, and say which; its successor comes."""

    def progress(self) -> int:
        """Tell how far they have come."""

    def look(self) -> None:
        """See that nothing is wrong so far."""


@dataclass
class Storm:
    """Lets each of the misfortunes happen so many times, at random moments, in random order.

    Attributes:
        pair: What the ledger is kept in.
        workers: Who uses it.
        rounds: How often each happens.
        seed: Of all choices.
        kinds: Which ones.
        behind: How likely a worker is stopped at a crash point meanwhile.
        stops: For how long, seconds, at least and at most. It may hold what others wait for.
        held: For how long, seconds, it is stopped already when it happens: copies of what it holds
            may be suppressed meanwhile.
        kills: How likely one is killed before, and after.
        pause: Before each, seconds at most.
        done: What happened, by name.
        killed: How many workers were killed.
        stopped: How many were stopped.
    """

    pair: Pair
    workers: Workers
    rounds: int
    seed: int = SEED
    kinds: Sequence[str] = ALL
    behind: float = 0.5
    stops: tuple[float, float] = (0.2, 4.0)
    held: tuple[float, float] = (0.0, 1.5)
    kills: float = 0.5
    pause: float = LONGEST_PAUSE
    done: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    stopped: int = 0

    def run(self, healthy: Callable[[], object] = bool) -> None:
        """Let all of it happen, one after the other.

        Args:
            healthy: Raises if there is no point in going on.
        """
        chance, began = random.Random(f"{self.seed} storm"), time.monotonic()
        print(f"EOS_SEED={self.seed}: {self.rounds} of each")  # noqa: T201 shown when it fails
        kinds = [kind for kind in self.kinds for _ in range(self.rounds)]
        chance.shuffle(kinds)
        for kind in kinds:
            healthy()
            time.sleep(chance.uniform(0, self.pause))
            said = self._strike(kind, chance)
            print(f"{time.monotonic() - began:6.1f} s  {kind}: {said}")  # noqa: T201
            self.workers.look()
            if chance.random() < 2 / 3:  # otherwise the next one may find it half recovered
                self._await_progress()
        print(self)  # noqa: T201

    def _strike(self, kind: str, chance: random.Random) -> str:
        """Let one of them happen, perhaps behind a worker's back; say what it was."""
        said = []
        goes_on = threading.Timer(chance.uniform(*self.stops), self.workers.go_on)
        if chance.random() < self.behind and (held := self.workers.stop_one(chance)):
            said.append(held)
            self.stopped += 1
            goes_on.start()
        self._perhaps_kill(chance, said)
        time.sleep(chance.uniform(*self.held))
        said.append(self.pair.harms[kind](chance))
        self.done[kind] += 1
        time.sleep(chance.choice([0.0, chance.uniform(0, 1.0)]))
        self._perhaps_kill(chance, said)
        if goes_on.ident:
            goes_on.join()
        return "; ".join(said)

    def _perhaps_kill(self, chance: random.Random, said: list[str]) -> None:
        if chance.random() < self.kills and (killed := self.workers.kill_one(chance)):
            said.append(killed)
            self.killed += 1

    def _await_progress(self) -> None:
        before = self.workers.progress()
        if not wait_until(lambda: self.workers.progress() > before, seconds=_SECONDS, every=0.1):
            raise AssertionError("nothing is settled any more")

    def __str__(self) -> str:
        """Tell what happened."""
        missed = self.pair.missed
        return (
            f"{sum(self.done.values())} misfortunes, {self.killed} kills, {self.stopped} stops, "
            f"writes missed at fail-overs: {missed}"
        )
