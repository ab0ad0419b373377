"""Effects in a SQL database happen once, through whatever connection they go."""

import asyncio
import contextlib
import sqlite3
from types import SimpleNamespace

import psycopg
import pytest
from django.db import transaction  # type: ignore[import-untyped]
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import eos
from tests.integration import inbox_kinds as kinds
from tests.integration.inbox_kinds import EFFECT
from tests.integration.inbox_kit import Log, begun, effects, read, settle


@pytest.mark.parametrize(("database_kind", "kind"), kinds.KINDS)
def test_every_kind_of_connection_settles_in_its_own_transaction(
    engine: Engine, log: Log, kind: str
) -> None:
    inbox, consumer = begun(engine, log, key=eos.header("message-id"))
    first, second, *_ = read(consumer, 4)

    with kinds.connect(engine, kind) as opened:
        assert inbox.settle(opened.db, first)
        opened.execute(EFFECT)
        opened.rollback()
    assert effects(engine) == 0
    with kinds.connect(engine, kind) as opened:
        assert inbox.settle(opened.db, first), "rolled back: it was not settled"
        opened.execute(EFFECT)
        assert not inbox.settle(opened.db, first)
        assert inbox.settle(opened.db, second)
        opened.execute(EFFECT)
        opened.commit()
    with kinds.connect(engine, kind) as opened:
        assert not inbox.settle(opened.db, first)
        assert not inbox.settle(opened.db, second)
        opened.commit()

    assert effects(engine) == 2


@pytest.mark.parametrize("session", [False, True])
def test_asynchronous_connections_and_sessions_settle_too(
    engine: Engine, log: Log, session: bool
) -> None:
    driver = "sqlite+aiosqlite" if engine.dialect.name == "sqlite" else "postgresql+psycopg"
    async_engine = create_async_engine(engine.url.set(drivername=driver))
    inbox, consumer = begun(async_engine, log)  # type: ignore[arg-type]
    message = read(consumer, 1)[0]

    async def once() -> bool:
        async with AsyncSession(async_engine) if session else async_engine.connect() as db:
            fresh = await inbox.settle_async(db, message)
            if fresh:
                await db.execute(text(EFFECT))
            with pytest.raises(eos.ConfigError, match=r"await inbox.settle_async"):
                inbox.settle(db, message)
            await db.commit()
            return fresh

    async def twice() -> list[bool]:
        found = [await once(), await once()]
        await async_engine.dispose()
        return found

    assert asyncio.run(twice()) == [True, False]
    assert effects(engine) == 1


def test_django_settles_in_its_atomic_blocks_and_refuses_without(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]
    connection = kinds.of_django(engine)

    with pytest.raises(eos.ConfigError, match=r"transaction.atomic"):
        inbox.settle(connection, message)
    with contextlib.suppress(KeyError), transaction.atomic(using="test"):
        assert inbox.settle(connection, message)
        raise KeyError
    with transaction.atomic(using="test"):
        assert inbox.settle(connection, message)
        connection.cursor().execute(EFFECT)
    with transaction.atomic(using="test"):
        assert not inbox.settle(connection, message)
    connection.close()

    assert effects(engine) == 1


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_autocommit_is_refused_on_postgresql(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]

    with (
        psycopg.connect(kinds.address(engine), autocommit=True) as db,
        pytest.raises(eos.ConfigError, match=r"autocommit mode.* with db.transaction"),
    ):
        inbox.settle(db, message)
    careless = engine.execution_options(isolation_level="AUTOCOMMIT")
    with careless.connect() as core, pytest.raises(eos.ConfigError, match="AUTOCOMMIT"):
        inbox.settle(core, message)

    assert settle(engine, inbox, message)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_autocommit_is_refused_on_sqlite(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]
    db = sqlite3.connect(str(engine.url.database), isolation_level=None)

    with pytest.raises(eos.ConfigError, match="BEGIN IMMEDIATE"):
        inbox.settle(db, message)
    careless = engine.execution_options(isolation_level="AUTOCOMMIT")
    with careless.connect() as core, pytest.raises(eos.ConfigError, match="AUTOCOMMIT"):
        inbox.settle(core, message)

    db.execute("BEGIN")
    assert inbox.settle(db, message)
    db.close()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_no_connection_is_refused(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]

    for wrong in (engine, None, "sqlite://", object()):
        with pytest.raises(eos.ConfigError, match="is no connection that eos"):
            inbox.settle(wrong, message)
    with pytest.raises(eos.ConfigError, match="takes an AsyncConnection"):
        asyncio.run(inbox.settle_async(engine, message))


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_whatever_has_topic_partition_and_offset_is_a_record(engine: Engine, log: Log) -> None:
    inbox, _ = begun(engine, log)
    bare = SimpleNamespace(topic=log.topic, partition=0, offset=0)
    record = eos.Record(log.topic, "its id", 0, 1, b"key", b"value", [], 0)

    assert settle(engine, inbox, bare)
    assert settle(engine, inbox, record)
    assert not settle(engine, inbox, bare)
    assert record.topic_id == "its id"
    assert effects(engine) == 2
