"""What tests of the line share: an input, an output, and settings that notice a death soon."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from eos.core.settings import Settings
from eos.db import create, engine_of
from eos.devstack import Server, Stack, running
from tests.integration.cluster import Cluster
from tests.integration.inbox_kit import Log
from tests.integration.processes import quick


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders", partitions=2)


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("receipts")


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace))


@pytest.fixture
def engine(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with our tables, and one for effects."""
    if database_kind == "sqlite":
        engine = engine_of(f"sqlite:///{tmp_path / 'db.sqlite'}")
    else:
        engine = engine_of(request.getfixturevalue("postgres_url"))
    create(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE effects (record INTEGER)"))
    yield engine
    engine.dispose()


@pytest.fixture(params=["postgresql", "sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log(cluster: Cluster, topic: Callable[..., str], namespace: str) -> Iterator[Log]:
    """A topic with four records in its first partition."""
    made = Log(cluster, topic("in", partitions=2), namespace)
    made.send("0", "1", "2", "3")
    yield made
    made.close()


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """Brokers that nobody else needs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        with running(redis=False) as opened:
            yield opened


@pytest.fixture
def broker(own_stack: Stack) -> Iterator[Server]:
    """The broker; it is there again afterwards."""
    yield own_stack.brokers[0]
    own_stack.brokers[0].resume()
    own_stack.brokers[0].start()


@pytest.fixture(scope="module")
def own_database() -> Iterator[Stack]:
    """A PostgreSQL that nobody else needs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_POSTGRES_URL", raising=False)
        with running(brokers=0, redis=False, postgres=True) as opened:
            yield opened


@pytest.fixture
def postgres(own_database: Stack) -> Iterator[Server]:
    """The server; it is there again afterwards."""
    yield own_database.postgres
    own_database.postgres.resume()
    own_database.postgres.start()
