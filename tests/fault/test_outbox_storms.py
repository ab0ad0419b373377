"""Storms: relays are killed, stopped and joined, and PostgreSQL dies, while rows are written."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.db import create, engine_of
from eos.devstack import Stack, running
from tests.fault.outbox_storm import storm
from tests.integration import outbox_broken as broken
from tests.integration.cluster import Cluster
from tests.integration.into_kit import fresh
from tests.integration.outbox_kit import Shop, slots

ROUNDS = int(os.environ.get("EOS_STORM_ROUNDS", "20"))
SEED = int(os.environ.get("EOS_SEED", "67"))


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
        relays = stack.enter_context(slots(shop, bootstrap_servers, namespace, tmp_path, 2))

        def harm(seconds: float) -> None:
            database.postgres.kill()
            time.sleep(seconds)  # so long it is away
            database.postgres.start()

        storm(shop, relays, ROUNDS, harm)


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
    with slots(shop, bootstrap_servers, namespace, tmp_path, 2) as relays:
        storm(shop, relays, ROUNDS)


@pytest.mark.timeout(ROUNDS * 60 + 120)
def test_a_storm_finds_out_a_relay_that_deletes_rows_before_they_are_published(
    cluster: Cluster,
    topic: Callable[..., str],
    sqlite: Engine,
    bootstrap_servers: str,
    namespace: str,
    tmp_path: Path,
) -> None:
    shop = Shop(cluster, topic("events", partitions=3), sqlite, SEED)
    with slots(shop, bootstrap_servers, namespace, tmp_path, 2) as relays:
        for relay in relays:
            relay.broken = broken.MARKS_FIRST
        with pytest.raises(AssertionError, match=r"lost=\['id-"):
            storm(shop, relays, ROUNDS)
