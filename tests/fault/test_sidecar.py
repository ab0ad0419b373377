"""Sidecars, Node.js apps and brokers killed in turn: outputs exactly once, in each key's order."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eos.devstack import Server, Stack, running
from tests.fault.test_chain import await_in_sync
from tests.integration.cluster import Cluster
from tests.integration.sidecar_callers import Callers
from tests.integration.sidecar_crew import PARTITIONS, Crew

KILLS = int(os.environ.get("EOS_SIDECAR_KILLS", "50"))
KEYS = int(os.environ.get("EOS_SIDECAR_KEYS", "5000"))
SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**6))))
ORDERS = 200
LONGEST_SECONDS = 4.0


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    """Brokers that nobody else needs; with one alone, Kafka itself may lose a marker."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("EOS_BOOTSTRAP_SERVERS", "EOS_REDIS_URL"):
            environment.delenv(name, raising=False)
        with running(brokers=3) as started:
            yield started


@pytest.mark.timeout(KILLS * 60 + 600)
def test_outputs_are_exact_after_kills_of_every_process(
    servers: Stack, namespace: str, tmp_path: Path
) -> None:
    choice = random.Random(SEED)
    print(f"EOS_SEED={SEED}")  # noqa: T201 pytest shows it for a test that failed
    cluster = Cluster(servers.bootstrap_servers)
    source, to = cluster.create("orders", PARTITIONS), cluster.create("receipts", 2)
    began = time.monotonic()
    with Crew(cluster, servers.redis_url, namespace, source, to, tmp_path) as crew:
        victims = [*crew.victims(), *(_broker(crew, servers, it, choice) for it in servers.brokers)]
        # Each of them as often as any other one, in any order.
        order = [victims[number % len(victims)] for number in range(KILLS)]
        choice.shuffle(order)
        for number, kill in enumerate(order, 1):
            crew.send(ORDERS)
            crew.await_handled(len(crew.sent) - choice.randrange(1, ORDERS))
            kill()
            print(f"{time.monotonic() - began:6.1f} s  kill {number}")  # noqa: T201
        crew.await_all()
    crew.assert_exact()


@pytest.mark.timeout(KILLS * 60 + 1200)
def test_each_key_is_published_once_after_kills_of_sidecars_and_brokers(
    servers: Stack, namespace: str, tmp_path: Path
) -> None:
    choice = random.Random(SEED)
    print(f"EOS_SEED={SEED}")  # noqa: T201 pytest shows it for a test that failed
    cluster = Cluster(servers.bootstrap_servers)
    to = cluster.create("published", 4)
    with Callers(cluster, servers.redis_url, namespace, to, tmp_path, KEYS, SEED) as callers:
        callers.run(KILLS, *(_away(servers, each, choice) for each in servers.brokers))
    callers.assert_exact()
    print(f"asked again, by status: {dict(callers.again)}")  # noqa: T201


def _broker(crew: Crew, stack: Stack, broker: Server, choice: random.Random) -> Callable[[], None]:
    # All goes on without it, as far as it can.
    return _away(stack, broker, choice, lambda: crew.send(ORDERS))


def _away(
    stack: Stack,
    broker: Server,
    choice: random.Random,
    meanwhile: Callable[[], None] = lambda: None,
) -> Callable[[], None]:
    def kill() -> None:
        broker.kill()
        meanwhile()
        time.sleep(choice.uniform(0.0, LONGEST_SECONDS))  # so long it is away
        broker.start()
        await_in_sync(stack)

    return kill
