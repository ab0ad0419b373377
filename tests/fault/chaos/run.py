"""A chaos from beginning to end: servers, workers, load, harm, and what is left behind."""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eos.devstack import Stack, running
from eos.devstack.waiting import wait_until
from eos.testing.proxy import KafkaProxy
from tests.fault.chaos.crew import Crew
from tests.fault.chaos.evidence import Counts, Evidence, output_of, read_effects, sent_of
from tests.fault.chaos.load import PARTITIONS, Publisher
from tests.fault.chaos.nemesis import Nemesis, World, harms
from tests.fault.chaos.watch import Follower, Place, Sampler, Watcher, read_to_the_end
from tests.fault.chaos.worker import PLAIN_POINTS, TRANSACTION_POINTS, Order, Point
from tests.integration.cluster import Cluster

SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**6))))
SESSION = 2.0
_READY_SECONDS = 120.0
BATCH = 20
ALL = ("moves", "stops", "brokers", "ledger", "commits")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is made of.

    Attributes:
        seed: Of the load and of all harm.
        seconds: How long it lasts.
        rate: Distinct records a second.
        plain: Whether effects lie outside of Kafka.
        across: Whether copies go to other partitions, too.
        loses_ledger: Whether the ledger comes back empty when it is restarted.
        harms: The kinds of harm.
        points: Where workers are stopped; default: all crash points of the tier.
        broken: How the workers are broken; default: not at all.
        session: After how many seconds a silent worker is taken for dead.
        patience: How long all is waited for to be settled once everything is healed.
        settings: More settings of the workers.
    """

    seed: int = SEED
    seconds: float
    rate: int = 120
    plain: bool = False
    across: bool = True
    loses_ledger: bool = False
    harms: tuple[str, ...] = ALL
    points: tuple[Point, ...] = ()
    broken: str = ""
    session: float = SESSION
    patience: float = 240.0
    settings: dict[str, Any] = field(default_factory=dict)


@contextmanager
def three_brokers() -> Iterator[Stack]:
    """Start servers that nobody else needs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        environment.delenv("EOS_REDIS_URL", raising=False)
        with running(brokers=3) as stack:
            yield stack


class Chaos:
    """One run.

    Args:
        plan: What it is made of.
        stack: The servers.
        folder: Where everything about it is kept.

    Attributes:
        crew: The workers.
        sampler: Looks at the log meanwhile.
    """

    def __init__(self, plan: Plan, stack: Stack, folder: Path) -> None:
        self._plan = plan
        self._stack = stack
        self._folder = folder
        self._calm = threading.Event()
        self._done = threading.Event()
        self._group = f"chaos-{uuid.uuid4().hex[:8]}"
        cluster = Cluster(stack.bootstrap_servers)
        self._source = cluster.create("orders", PARTITIONS)
        to = [] if plan.plain else [("receipts", 3), ("bills", 2)]
        topics = [(cluster.create(name, number), number) for name, number in to]
        self._outputs: list[Place] = [(name, n) for name, number in topics for n in range(number)]
        order = Order(
            settings=self._settings(),
            folder=str(folder),
            source=self._source,
            to=tuple(name for name, _ in topics),
            broken=plan.broken,
        )
        self.crew = Crew(order)
        self._watcher = Watcher(
            stack.bootstrap_servers, self._group, (self._source, PARTITIONS), self._outputs
        )
        self.sampler = Sampler(self._watcher, self._done)
        self._follower = Follower(stack.bootstrap_servers, self._outputs, self._done)

    def run(self, meddle: Callable[["Chaos"], None] | None = None) -> Evidence:
        """Let it happen, and give what is left.

        Args:
            meddle: What is done besides, while the load comes in.
        """
        plan, began = self._plan, time.monotonic()
        print(f"EOS_SEED={plan.seed} {plan}")  # noqa: T201 shown when it fails
        with ExitStack() as stack:
            stack.callback(self._watcher.close)
            stack.callback(self._done.set)
            stack.callback(self._calm.set)
            stack.callback(self.crew.close)
            world = self._world(stack)
            nemeses = self._nemeses(world)
            try:
                self._endure(world, nemeses, meddle)
                return self._finish()
            finally:
                self._tell(began, nemeses)

    def _endure(
        self, world: World, nemeses: list[Nemesis], meddle: Callable[["Chaos"], None] | None
    ) -> None:
        plan = self._plan
        load = Publisher(
            self._stack.bootstrap_servers,
            self._source,
            plan.seed,
            seconds=plan.seconds,
            rate=plan.rate,
            across=plan.across,
        )
        self.crew.start()
        self._await_workers()
        for thread in (load, self.sampler, self._follower, *nemeses):
            thread.start()
        if meddle:
            meddle(self)
            assert load.is_alive(), "the load was over too soon"
            load.enough.set()
        load.join(plan.seconds)
        self._calm.set()
        for nemesis in nemeses:
            nemesis.join()
        world.heal()
        load.join()
        assert load.failure is None, load.failure
        for nemesis in nemeses:
            if nemesis.failure:
                raise nemesis.failure

    def is_assigned(self, pid: int) -> bool:
        """Tell whether a worker process was given partitions."""
        return any(
            f'"pid": {pid}, "what": "Assigned", "partitions": [[' in path.read_text()
            for path in self._folder.glob("*.diary")
        )

    def _finish(self) -> Evidence:
        """Wait until all is settled, then look."""
        left = self._watcher.await_nothing_left(
            self._plan.patience, lambda: bool(self.crew.failure)
        )
        wait_until(lambda: self._counts().in_flight == 0, seconds=10)
        alive = self._counts()
        failure = None if self.crew.stop() else self.crew.failure or "a worker did not drain"
        self._done.set()
        for thread in (self.sampler, self._follower):
            thread.join()
        servers, source = self._stack.bootstrap_servers, self._watcher.source
        evidence = Evidence(
            inputs=[sent_of(m) for m in read_to_the_end(servers, source, "read_committed")],
            outputs=self._read("read_committed"),
            everything=self._read("read_uncommitted"),
            followed=self._follower.seen,
            samples=self.sampler.samples,
            alive=alive,
            counts=self._counts(),
            killed=self.crew.killed,
            batch=BATCH,
            left=left,
            failure=failure,
            effects=read_effects(self._folder),
        )
        evidence.dump(self._folder)
        return evidence

    def _read(self, isolation: str) -> list[Any]:
        if not self._outputs:
            return []
        messages = read_to_the_end(self._stack.bootstrap_servers, self._outputs, isolation)
        return [output_of(message) for message in messages]

    def _world(self, stack: ExitStack) -> World:
        plan = self._plan
        ports = zip(self._stack.proxy_ports, self._stack.broker_proxied_ports, strict=True)
        return World(
            stack=self._stack,
            crew=self.crew,
            proxies=[stack.enter_context(KafkaProxy(listen, target)) for listen, target in ports],
            folder=self._folder,
            session=plan.session,
            points=plan.points or (PLAIN_POINTS if plan.plain else TRANSACTION_POINTS),
            loses_ledger=plan.loses_ledger,
        )

    def _nemeses(self, world: World) -> list[Nemesis]:
        all_harms = harms(world)
        return [
            Nemesis(kind, self._plan.seed, *all_harms[kind], self._calm)
            for kind in self._plan.harms
        ]

    def _settings(self) -> dict[str, Any]:
        session = int(self._plan.session * 1000)
        kafka = {"session.timeout.ms": session, "heartbeat.interval.ms": session // 5}
        return {
            "group": self._group,
            "brokers": self._stack.proxied_servers,
            "ledger": self._stack.redis_url,
            "batch_records": BATCH,
            "commit_interval": "50ms",
            # Shorter than a delayed EndTxn may take: the client then asks again.
            "kafka": {**kafka, "socket.timeout.ms": 3000},
            **self._plan.settings,
        }

    def _await_workers(self) -> None:
        ready = wait_until(
            lambda: self._assigned() or bool(self.crew.failure), seconds=_READY_SECONDS
        )
        assert ready, "no worker was given partitions"

    def _assigned(self) -> bool:
        return any('"Assigned"' in path.read_text() for path in self._folder.glob("*.diary"))

    def _counts(self) -> Counts:
        total = self.crew.total
        suppressed = "eos_duplicates_suppressed_total"
        handled = ("fresh", "again")
        return Counts(
            claimed=total("eos_records_total"),
            handled=sum(total("eos_records_settled_total", verdict=each) for each in handled),
            resent=sum(
                total(suppressed, cause=f"resend_{which}_partition") for which in ("same", "other")
            ),
            redelivered=total(suppressed, cause="redelivery"),
            settled=total("eos_records_settled_total"),
            given_back=total("eos_records_given_back_total"),
            abandoned=total("eos_records_abandoned_total"),
            in_flight=total("eos_in_flight_records"),
            outputs=total("eos_outputs_total"),
            letters=total("eos_dead_letters_total"),
            aborted=total("eos_transactions_total", outcome="aborted"),
            resolved=total("eos_transactions_total", outcome="resolved"),
            recreated=total("eos_producers_recreated_total"),
            recoveries=total("eos_recoveries_total"),
        )

    def _tell(self, began: float, nemeses: list[Nemesis]) -> None:
        """Say what happened: pytest shows it for a test that failed."""
        rows = sorted((at, n.name, what) for n in nemeses for at, what in n.log)
        for at, kind, what in rows:
            print(f"{at - began:6.1f} s  {kind}: {what}")  # noqa: T201
        print(f"kept in {self._folder}; {self._counts()}")  # noqa: T201
        samples = self.sampler.samples
        print(f"{len(samples)} samples, missed: {dict(self.sampler.missed)}")  # noqa: T201
