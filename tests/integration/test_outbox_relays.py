"""Several relays: they share the shards, hand them over, and fence each other."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.core.outbox import SHARDS
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.outbox_kit import RelayProcess, Shop, slots

ALL_SHARDS = set(range(SHARDS))


@pytest.fixture
def shop(cluster: Cluster, topic: Callable[..., str], engine: Engine) -> Shop:
    return Shop(cluster, topic("events", partitions=3), engine, seed=23)


@pytest.fixture
def relays(
    shop: Shop, bootstrap_servers: str, namespace: str, tmp_path: Path
) -> Iterator[list[RelayProcess]]:
    with slots(shop, bootstrap_servers, namespace, tmp_path, 2) as made:
        yield made


def share(shop: Shop, relays: list[RelayProcess]) -> None:
    """Let both relays work, and wait until they have shared the shards."""
    for relay in relays:
        relay.relay()

    def shared() -> bool:
        shop.write(1)
        one, other = (relay.shards() for relay in relays)
        return bool(one) and bool(other) and one | other == ALL_SHARDS and not one & other

    if not wait_until(shared, seconds=SECONDS, every=0.1):
        raise AssertionError("\n".join(relay.told() for relay in relays))


def test_two_relays_share_the_shards_and_one_that_leaves_hands_its_own_over(
    shop: Shop, relays: list[RelayProcess]
) -> None:
    one, other = relays
    share(shop, relays)
    one.drain()
    shop.write(30)
    shop.await_published()
    assert wait_until(lambda: other.shards() == ALL_SHARDS, seconds=SECONDS), other.told()
    other.drain()
    shop.assert_exact()


def test_the_shards_of_a_relay_that_dies_are_taken_over(
    shop: Shop, relays: list[RelayProcess]
) -> None:
    one, other = relays
    share(shop, relays)
    os.kill(one.pid, signal.SIGKILL)
    shop.write(30)
    shop.await_published()
    assert wait_until(lambda: other.shards() == ALL_SHARDS, seconds=SECONDS), other.told()
    one.relay()
    one.await_up()
    shop.write(30)
    shop.await_published()
    one.drain()
    other.drain()
    shop.assert_exact()


# On SQLite a process that stops may hold the whole database, and then nobody can write.
@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize(
    "where",
    [
        "before transactions.begin",
        "after transactions.produce",
        "after transactions.send_offsets",
        "before transactions.commit",
        "before UPDATE eos_outbox_shards",
        "before do_commit",
    ],
)
def test_a_zombie_publishes_nothing_when_it_wakes_up(
    shop: Shop, relays: list[RelayProcess], where: str
) -> None:
    one, other = relays
    one.relay(12, where, action="stop")

    def stopped() -> bool:
        shop.write(2)
        return bool(one.notes("fault"))

    assert wait_until(stopped, seconds=SECONDS, every=0.05), one.told()
    other.relay()
    shop.write(10)
    shop.await_published()  # also what it holds a row of: the server ends its transaction
    one.go_on()
    shop.write(10)
    shop.await_published()
    for relay in relays:
        if relay.alive:
            relay.drain()
    shop.assert_exact()
