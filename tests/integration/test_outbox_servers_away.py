"""A relay waits for a PostgreSQL, or for brokers, that are away."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eos.core.outbox import SHARDS
from eos.devstack import Server, Stack
from tests.fault.rows import rows
from tests.integration.cluster import Cluster
from tests.integration.into_kit import fresh
from tests.integration.outbox_kit import RelayProcess, Shop, slots

FROZEN_SECONDS = 8.0
"""More than the session of a member, and than a transaction may be idle."""


@pytest.fixture
def shop(
    postgres: Server,
    own_database: Stack,
    cluster: Cluster,
    topic: Callable[..., str],
    namespace: str,
) -> Iterator[Shop]:
    postgres.start()
    with fresh(own_database.postgres_url, namespace) as engine:
        yield Shop(cluster, topic("events", partitions=3), engine, seed=41)


@pytest.fixture
def relay(
    shop: Shop, bootstrap_servers: str, namespace: str, tmp_path: Path
) -> Iterator[RelayProcess]:
    with slots(shop, bootstrap_servers, namespace, tmp_path) as [made]:
        yield made


def test_a_postgres_that_is_away_at_the_start_is_waited_for(
    shop: Shop, relay: RelayProcess, postgres: Server
) -> None:
    shop.write(20)
    postgres.stop()
    relay.relay()
    relay.await_note("Waiting")
    postgres.start()
    shop.await_published()
    relay.drain()
    shop.assert_exact()


@pytest.mark.parametrize("how", rows(["kill"], ["kill", "stop"]))
def test_a_postgres_that_goes_away_is_waited_for(
    shop: Shop, relay: RelayProcess, postgres: Server, how: str
) -> None:
    relay.relay()
    shop.write(20)
    shop.await_published()
    shop.write(60)  # the relay is in the middle of these
    getattr(postgres, how)()
    relay.await_note("ShardStopped")
    postgres.start()
    shop.write(20)
    shop.await_published()
    relay.drain()
    shop.assert_exact()


def test_a_postgres_that_freezes_costs_no_relay_its_shards(
    shop: Shop, relay: RelayProcess, postgres: Server
) -> None:
    relay.relay()
    shop.write(20)
    shop.await_published()
    shop.write(60)
    postgres.pause()
    time.sleep(FROZEN_SECONDS)  # so long it is frozen
    assert len(relay.shards()) == SHARDS
    postgres.resume()
    shop.write(20)
    shop.await_published()
    assert not relay.notes("ShardClosed")
    relay.drain()
    shop.assert_exact()


def test_a_relay_ends_when_it_is_told_to_while_postgres_is_frozen(
    shop: Shop, relay: RelayProcess, postgres: Server
) -> None:
    relay.relay()
    shop.write(20)
    shop.await_published()
    shop.write(60)
    postgres.pause()
    relay.drain()
    postgres.resume()
    relay.relay()
    shop.await_published()
    relay.drain()
    shop.assert_exact()


@pytest.mark.parametrize(
    "where",
    rows(
        ["after DELETE FROM eos_outbox"],
        [
            "after DELETE FROM eos_outbox",
            "before do_commit",
            "after do_commit",
            "after transactions.commit",
        ],
    ),
)
def test_a_postgres_that_dies_at_a_step_of_the_relay_is_waited_for(
    shop: Shop, relay: RelayProcess, postgres: Server, where: str
) -> None:
    shop.write(30)
    relay.relay(2, where, action="stop")
    relay.await_note("fault")
    postgres.kill()
    relay.go_on()
    relay.await_note("ShardStopped")
    postgres.start()
    shop.write(20)
    shop.await_published()
    relay.drain()
    shop.assert_exact()
