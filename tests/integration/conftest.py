"""What tests of the line share: an input, an output, and settings that notice a death soon."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from eos.core.settings import Settings
from eos.db import create, engine_of
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
