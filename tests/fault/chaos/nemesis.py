"""What does harm in a chaos. Each kind has a thread and a random generator of its own."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.admin import AdminClient

from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from eos.testing.proxy import ApiKey, KafkaProxy
from tests.fault.chaos.crew import HOME, Crew
from tests.fault.chaos.worker import Point, name, trap

_NOTICED_SECONDS = 5.0
_IN_SYNC_SECONDS = 90.0

Harm = Callable[[random.Random], str]
"""Does one thing, and says what."""


@dataclass
class World:
    """What harm is done to.

    Attributes:
        stack: The servers.
        crew: The workers.
        proxies: What the workers reach the brokers through.
        folder: Where traps are set.
        session: After how many seconds a silent worker is taken for dead.
        points: Where workers are stopped.
        loses_ledger: Whether the ledger comes back empty when it is restarted.
        stopped: Workers that are stopped: slots and process ids.
    """

    stack: Stack
    crew: Crew
    proxies: Sequence[KafkaProxy]
    folder: Path
    session: float
    points: Sequence[Point]
    loses_ledger: bool
    stopped: dict[int, int] = field(default_factory=dict)
    _stopped_lock: threading.Lock = field(default_factory=threading.Lock)

    def move(self, chance: random.Random) -> str:
        """Make the group rebalance."""
        kind = chance.choice(["guest", "guest", "guest", "drain", "kill"])
        if kind == "guest" and self.crew.has_guest:
            self.crew.see_off()
            return "the guest leaves"
        if kind == "guest":
            self.crew.invite()
            return "a guest comes"
        with self._stopped_lock:  # a worker that is stopped shall come back to find itself replaced
            pids = {s: pid for s, pid in self.crew.pids().items() if s not in self.stopped}
            if not pids:
                return "nobody is there to be moved"
            slot = chance.choice(sorted(pids))
            with suppress(ProcessLookupError):
                os.kill(pids[slot], signal.SIGTERM if kind == "drain" else signal.SIGKILL)
        return f"{kind} worker {slot}"

    def stop_and_go_on(self, chance: random.Random) -> str:
        """Stop whichever worker comes by a crash point, past its session; then let it go on."""
        point = chance.choice(self.points)
        seconds = chance.choice([1.5, 2.0, 3.0]) * self.session
        if not self._stop_at(point):
            return f"nobody came by {' '.join(point)}"
        time.sleep(seconds)
        slots = self._let_go_on()
        return f"workers {slots} were stopped for {seconds:.1f} s {' '.join(point)}"

    def lose_ledger_behind_a_back(self, chance: random.Random) -> str:
        """Stop a worker, but not past its session, and lose the ledger meanwhile."""
        point = chance.choice(self.points)
        if not self._stop_at(point):
            return f"nobody came by {' '.join(point)}"
        self._lose_ledger()
        time.sleep(self.session / 3)
        return f"the ledger was lost while workers {self._let_go_on()} were stopped"

    def _stop_at(self, point: Point) -> bool:
        """Stop whichever worker comes by a crash point; False if none does."""
        pids = self.crew.pids()
        traps = {slot: trap(self.folder, name(HOME, slot), point) for slot in pids}
        for path in traps.values():
            path.touch()
        wait_until(lambda: not all(p.exists() for p in traps.values()), seconds=_NOTICED_SECONDS)
        sprung = {slot for slot, path in traps.items() if not path.exists()}
        for path in traps.values():
            path.unlink(missing_ok=True)
        with self._stopped_lock:
            self.stopped = {s: pids[s] for s in sprung if _stops(pids[s])}
        return bool(self.stopped)

    def _let_go_on(self) -> list[int]:
        stopped, self.stopped = self.stopped, {}
        for pid in stopped.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return sorted(stopped)

    def kill_a_broker(self, chance: random.Random) -> str:
        """Kill a broker, and start it again."""
        number = chance.randrange(len(self.stack.brokers))
        broker = self.stack.brokers[number]
        broker.kill()
        time.sleep(chance.uniform(0.5, 4.0))
        broker.start()
        self.await_in_sync()
        return f"broker {number + 1} was killed"

    def restart_ledger(self, chance: random.Random) -> str:
        """Restart Redis, without what it held if so wanted."""
        if self.loses_ledger:
            self._lose_ledger()
            return "the ledger was lost"
        if chance.random() < 1 / 2:
            self.stack.redis.restart()
            return "the ledger was restarted"
        self.stack.redis.kill()
        time.sleep(chance.uniform(0.0, 1.0))
        self.stack.redis.start()
        return "the ledger was killed"

    def _lose_ledger(self) -> None:
        """Restart Redis as one without persistence."""
        self.stack.redis.kill()
        shutil.rmtree(self.stack.folder / "redis" / "appendonlydir")
        self.stack.redis.start()

    def drop_answers(self, chance: random.Random) -> str:
        """Drop the next answers to EndTxn."""
        close = chance.random() < 1 / 2
        for proxy in self.proxies:
            proxy.drop_responses(ApiKey.END_TXN, 1, close=close)
        return f"answers of EndTxn are dropped, {close=}"

    def delay_a_commit(self, chance: random.Random) -> str:
        """Delay the next EndTxn into the next transaction: the client gives up sooner."""
        seconds = chance.uniform(2.5, 6.0)
        for proxy in self.proxies:
            proxy.delay_requests(ApiKey.END_TXN, seconds, 1)
        return f"EndTxn is delayed by {seconds:.1f} s"

    def hurt_a_commit(self, chance: random.Random) -> str:
        """Do either."""
        return chance.choice([self.drop_answers, self.delay_a_commit])(chance)

    def heal(self) -> None:
        """End all faults: all servers are there, and nobody is stopped."""
        for proxy in self.proxies:
            proxy.heal()
        for server in self.stack.servers:
            server.start()
        self.await_in_sync()
        self.crew.see_off()

    def await_in_sync(self) -> None:
        """Wait until each partition has all its copies: a second loss would then be harmless."""
        admin = AdminClient({"bootstrap.servers": self.stack.bootstrap_servers, "log_level": 0})

        def in_sync() -> bool:
            with suppress(Exception):
                topics = admin.list_topics(timeout=5).topics.values()
                parts = [p for topic in topics for p in topic.partitions.values()]
                return all(len(p.isrs) == len(p.replicas) for p in parts)
            return False

        assert wait_until(in_sync, seconds=_IN_SYNC_SECONDS, every=0.3), "copies stay out of sync"


class Nemesis(threading.Thread):
    """Does one kind of harm again and again.

    Args:
        kind: Its name; part of the seed.
        seed: Of what it chooses.
        harm: What it does.
        pause: How long it waits in between, at least and at most.
        done: Ends it.

    Attributes:
        log: What it did, and when.
        failure: Why it stopped, if it did so by itself.
    """

    def __init__(
        self, kind: str, seed: int, harm: Harm, pause: tuple[float, float], done: threading.Event
    ) -> None:
        super().__init__(name=kind, daemon=True)
        self._chance = random.Random(f"{seed} {kind}")
        self._harm = harm
        self._pause = pause
        self._done = done
        self.log: list[tuple[float, str]] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        """Do harm."""
        due = time.monotonic()
        while True:
            due = max(due + self._chance.uniform(*self._pause), time.monotonic())
            if self._done.wait(due - time.monotonic()):
                return
            try:
                self.log.append((time.monotonic(), self._harm(self._chance)))
            except Exception as error:  # noqa: BLE001 the test raises it in its own thread
                self.failure = error
                return


def harms(world: World) -> Mapping[str, tuple[Harm, tuple[float, float]]]:
    """Give each kind of harm, and the pauses between two of them."""
    return {
        "moves": (world.move, (2.0, 2.0)),
        "stops": (world.stop_and_go_on, (0.5, 2.0)),
        "lost behind a back": (world.lose_ledger_behind_a_back, (0.5, 1.0)),
        "brokers": (world.kill_a_broker, (6.0, 12.0)),
        "ledger": (world.restart_ledger, (5.0, 10.0)),
        "late commits": (world.delay_a_commit, (1.0, 2.0)),
        "commits": (world.hurt_a_commit, (2.0, 5.0)),
    }


def _stops(pid: int) -> bool:
    """Wait until a process that is about to stop has stopped; False if it is gone."""
    stat = Path(f"/proc/{pid}/stat")

    def is_stopped() -> bool:
        with suppress(FileNotFoundError, ProcessLookupError):
            return stat.read_text(errors="replace").rpartition(")")[2].split()[0] == "T"
        return False

    return wait_until(is_stopped, seconds=1.0)
