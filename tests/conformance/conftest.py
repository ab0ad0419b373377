import os
from collections.abc import Iterator

import psycopg
import pytest

from eos.devstack import Stack
from eos.stores.sql import tables
from eos.stores.sql.connections import engine_of
from tests.conformance.rigs import OwnServer
from tests.conformance.servers import redis_server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    named = os.environ.get("EOS_REDIS_URL")
    if named:
        yield named
        return
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with redis_server(tmp_path_factory.mktemp("own")) as server:
        yield OwnServer(server)


@pytest.fixture(scope="module")
def ledger_url(database: Stack) -> Iterator[str]:
    """A PostgreSQL database with the tables of eos, for all tests of a file."""
    name = "ledger"
    server, _, _ = database.postgres_url.rpartition("/")
    with psycopg.connect(database.postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        engine = engine_of(f"{server}/{name}")
        tables.create(engine)
        engine.dispose()
        yield f"{server}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
