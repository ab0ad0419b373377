"""The chain of docs/examples/chain while every process of it is killed, the servers among them."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from eos.devstack import Server, Stack, running
from eos.devstack.waiting import wait_until
from tests.integration import chain_kit as kit
from tests.integration.chain_kit import Chain, Shop
from tests.integration.cluster import Cluster
from tests.integration.into_kit import fresh

KILLS = int(os.environ.get("EOS_CHAIN_KILLS", "50"))
SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**6))))
ORDERS = 200
LONGEST_SECONDS = 4.0
IN_SYNC_SECONDS = 90.0
PATIENCE = 240.0


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    """Servers that nobody else needs; with one broker alone, Kafka itself may lose a marker."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("EOS_BOOTSTRAP_SERVERS", "EOS_REDIS_URL", "EOS_POSTGRES_URL"):
            environment.delenv(name, raising=False)
        with running(brokers=3, postgres=True) as started:
            yield started


@pytest.fixture
def shop(servers: Stack, namespace: str) -> Iterator[Shop]:
    cluster = Cluster(servers.bootstrap_servers)
    with fresh(servers.postgres_url, namespace) as engine:
        made = Shop(cluster, engine, namespace, servers.redis_url)
        made.open()
        yield made


@pytest.mark.timeout(KILLS * 60 + 600)
def test_the_money_is_the_same_everywhere_after_kills_of_every_process(
    shop: Shop, servers: Stack, tmp_path: Path
) -> None:
    choice = random.Random(SEED)
    print(f"EOS_SEED={SEED}")  # noqa: T201 pytest shows it for a test that failed
    began = time.monotonic()
    with kit.running(shop, tmp_path) as chain:
        victims = _victims(chain, servers, choice)
        # Each of them as often as any other one, in any order.
        order = [victims[number % len(victims)] for number in range(KILLS)]
        choice.shuffle(order)
        for number, kill in enumerate(order, 1):
            shop.send(ORDERS)
            due = shop.sent - choice.randrange(1, ORDERS)
            chain.await_count("charges", due, PATIENCE)
            what = kill()
            print(f"{time.monotonic() - began:6.1f} s  {number}: {what}")  # noqa: T201
        chain.come_to_rest(PATIENCE)
        for service in chain.services:
            service.drain()
    shop.assert_conserved()


def _victims(chain: Chain, stack: Stack, choice: random.Random) -> list[Callable[[], str]]:
    """Give what kills each process once, and has it started again."""

    def server(name: str, server: Server) -> Callable[[], str]:
        def kill() -> str:
            server.kill()
            chain.shop.send(ORDERS)  # all goes on without it, as far as it can
            time.sleep(choice.uniform(0.0, LONGEST_SECONDS))  # so long it is away
            server.start()
            await_in_sync(stack)
            return name

        return kill

    servers = {f"broker {number}": each for number, each in enumerate(stack.brokers, 1)}
    servers |= {"Redis": stack.redis, "PostgreSQL": stack.postgres}
    return [
        *(service.kill_a_worker for service in chain.services),
        *(service.kill for service in chain.services),
        *(server(name, each) for name, each in servers.items()),
    ]


def await_in_sync(stack: Stack) -> None:
    """Wait until each partition has all its copies: a second loss would then be harmless."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers, "log_level": 0})

    def in_sync() -> bool:
        with suppress(KafkaException):
            topics = admin.list_topics(timeout=5).topics.values()
            parts = [each for topic in topics for each in topic.partitions.values()]
            return all(len(each.isrs) == len(each.replicas) for each in parts)
        return False

    assert wait_until(in_sync, seconds=IN_SYNC_SECONDS, every=0.3), "copies stay out of sync"
