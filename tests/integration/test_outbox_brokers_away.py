"""A relay waits for brokers that are away: when it starts, and in the middle of a batch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.devstack import Server, Stack
from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.outbox_kit import RelayProcess, Shop, slots

# One that is killed is alone, and would forget markers: it dies before it knows of a transaction.
FEW = [
    (Server.kill, Server.start, "before transactions.begin"),
    (Server.pause, Server.resume, "before transactions.commit"),
]
ALL = [
    *FEW,
    (Server.stop, Server.start, "before transactions.begin"),
    (Server.pause, Server.resume, "before transactions.begin"),
    (Server.pause, Server.resume, "after transactions.produce"),
    (Server.pause, Server.resume, "after transactions.send_offsets"),
]


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def shop(own_stack: Stack, engine: Engine) -> Shop:
    cluster = Cluster(own_stack.bootstrap_servers)
    return Shop(cluster, cluster.create("events", partitions=3), engine, seed=47)


@pytest.fixture
def relay(shop: Shop, own_stack: Stack, namespace: str, tmp_path: Path) -> Iterator[RelayProcess]:
    with slots(shop, own_stack.bootstrap_servers, namespace, tmp_path) as [made]:
        yield made


def test_brokers_that_are_away_at_the_start_are_waited_for(
    broker: Server, shop: Shop, relay: RelayProcess
) -> None:
    shop.write(20)
    broker.stop()
    relay.relay()
    relay.await_note("Waiting")
    broker.start()
    shop.await_published()
    relay.drain()
    shop.assert_exact()


@pytest.mark.parametrize(
    ("harm", "back", "where"),
    rows(FEW, ALL),
)
def test_brokers_that_go_away_in_the_middle_of_a_batch_are_waited_for(
    broker: Server,
    shop: Shop,
    relay: RelayProcess,
    harm: Callable[[Server], None],
    back: Callable[[Server], None],
    where: str,
) -> None:
    shop.write(20)
    relay.relay(0, where, action="stop")
    shop.await_published()
    relay.diary.with_suffix(".gate").touch()
    shop.commit(["key-1"])  # one shard alone is in the middle of something
    relay.await_note("fault")
    harm(broker)
    relay.go_on()
    # Its call fails, or its membership ends first.
    gone = ("ShardStopped", "ShardClosed")
    assert wait_until(lambda: any(map(relay.notes, gone)), seconds=2 * SECONDS), relay.told()
    shop.write(20)
    back(broker)
    shop.await_published()
    relay.drain()
    shop.assert_exact()
