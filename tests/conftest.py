"""What tests share: one stack of real servers for the whole run, started when first asked for."""

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from confluent_kafka import Message

from eos.devstack import Stack, running
from tests.integration.cluster import Cluster


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Real Kafka and Redis. What is missing fails the test: nothing is skipped."""
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def cluster(stack: Stack) -> Cluster:
    return Cluster(stack.bootstrap_servers)


@pytest.fixture
def bootstrap_servers(stack: Stack) -> str:
    return stack.bootstrap_servers


@pytest.fixture
def redis_url(stack: Stack) -> str:
    return stack.redis_url


@pytest.fixture
def topic(cluster: Cluster) -> Callable[..., str]:
    """Makes topics: `topic("orders", partitions=2)` gives the name of a new one."""
    return cluster.create


@pytest.fixture
def read_committed(cluster: Cluster) -> Callable[[str], list[Message]]:
    """Reads a topic to its end, as a consumer with `isolation.level=read_committed` sees it."""
    return cluster.read_committed


@pytest.fixture
def namespace() -> str:
    """A namespace, and consumer group, that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def database() -> Iterator[Stack]:
    """A real PostgreSQL, in a stack of its own: most tests need none, or nothing but it."""
    with running(brokers=0, redis=False, postgres=True) as started:
        yield started


@pytest.fixture
def postgres_url(database: Stack) -> Iterator[str]:
    """A fresh, empty database of this test, on the PostgreSQL that all tests share."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    server, _, _ = database.postgres_url.rpartition("/")
    with psycopg.connect(database.postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        yield f"{server}/{name}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
