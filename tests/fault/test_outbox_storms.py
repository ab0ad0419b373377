"""Storms: relays are killed, stopped and joined, and PostgreSQL dies, while rows are written."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.db import create, engine_of
from eos.devstack import Stack, running
from tests.integration.cluster import Cluster
from tests.integration.into_kit import fresh, url
from tests.integration.outbox_kit import RelayProcess, Shop

ROUNDS = int(os.environ.get("EOS_STORM_ROUNDS", "20"))
SEED = int(os.environ.get("EOS_SEED", "67"))
LONGEST_SECONDS = 1.5
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}


@contextmanager
def crew(
    shop: Shop, bootstrap_servers: str, namespace: str, folder: Path
) -> Iterator[list[RelayProcess]]:
    """Start two relays."""
    settings = {
        "group": f"{namespace}.relay",
        "namespace": namespace,
        "brokers": bootstrap_servers,
        "batch_records": 5,
        "kafka": QUICK,
    }
    with ExitStack() as stack:
        relays = [
            stack.enter_context(
                RelayProcess(settings, "", "", folder / f"relay-{n}", into=url(shop.engine))
            )
            for n in range(2)
        ]
        for relay in relays:
            relay.relay()
        yield relays


def storm(shop: Shop, relays: list[RelayProcess], harm: Callable[[float], None] | None) -> None:
    """Let all of it come together, then see that all is published."""
    choice = random.Random(SEED)
    for _ in range(ROUNDS):
        shop.write(choice.randrange(5, 30))
        strike(choice.choice(relays), choice)
        time.sleep(choice.uniform(0, LONGEST_SECONDS))  # any moment of the rebalance
        if harm and choice.random() < 1 / 2:
            harm(choice.uniform(0, LONGEST_SECONDS))
        for each in relays:
            if not each.alive:
                assert each.exit_code() == -signal.SIGKILL, each.told()
                each.relay()
    for each in relays:  # the step at which one dies may have been still to come
        end(each, signal.SIGKILL)
        each.relay()
    shop.write(10)
    shop.await_published()
    for each in relays:
        each.drain()
    shop.assert_exact()


def end(relay: RelayProcess, number: int) -> None:
    """Send a signal; the process may be dying, or not have got so far as to notice it."""
    os.kill(relay.pid, number)
    assert relay.exit_code() in {0, -signal.SIGKILL, -signal.SIGTERM}, relay.told()


def strike(relay: RelayProcess, choice: random.Random) -> None:
    """Let a relay die, leave or sleep; what is gone has a successor, that may die at a step."""
    what = choice.choice(["dies", "leaves", "sleeps", "dies at a step"])
    print(what, relay.diary.name)  # noqa: T201
    if what == "sleeps":
        os.kill(relay.pid, signal.SIGSTOP)
        time.sleep(choice.uniform(0, 2 * LONGEST_SECONDS))  # some longer than the session
        os.kill(relay.pid, signal.SIGCONT)
        return
    end(relay, signal.SIGTERM if what == "leaves" else signal.SIGKILL)
    relay.relay(choice.randrange(1, 120) if what == "dies at a step" else 0)


@pytest.mark.timeout(ROUNDS * 60 + 120)
def test_rows_of_postgres_become_messages_once_while_it_dies_and_relays_do(
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
    tmp_path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        environment.delenv("EOS_POSTGRES_URL", raising=False)
        database: Stack = stack.enter_context(running(brokers=0, redis=False, postgres=True))
        engine = stack.enter_context(fresh(database.postgres_url, namespace))
        shop = Shop(cluster, topic("events", partitions=3), engine, SEED)
        relays = stack.enter_context(crew(shop, bootstrap_servers, namespace, tmp_path))

        def harm(seconds: float) -> None:
            database.postgres.kill()
            time.sleep(seconds)  # so long it is away
            database.postgres.start()

        storm(shop, relays, harm)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = engine_of(f"sqlite:///{tmp_path / 'db.sqlite'}")
    create(engine)
    yield engine
    engine.dispose()


@pytest.mark.timeout(ROUNDS * 60 + 120)
def test_rows_of_sqlite_become_messages_once_while_relays_die(
    cluster: Cluster,
    topic: Callable[..., str],
    sqlite: Engine,
    bootstrap_servers: str,
    namespace: str,
    tmp_path: Path,
) -> None:
    shop = Shop(cluster, topic("events", partitions=3), sqlite, SEED)
    with crew(shop, bootstrap_servers, namespace, tmp_path) as relays:
        storm(shop, relays, None)
