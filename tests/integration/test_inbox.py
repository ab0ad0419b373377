"""A record's effect in a SQL database happens once: `eos.Inbox` in somebody's own loop."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from django.db import transaction  # type: ignore[import-untyped]
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import eos
from eos.db import create, engine_of
from tests.integration import inbox_kinds as kinds
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.inbox_kinds import EFFECT


@pytest.fixture
def engine(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with tables."""
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


class Log:
    """A topic with records in it, and a consumer that reads them again and again.

    Attributes:
        topic: The topic's name.
    """

    def __init__(self, cluster: Cluster, topic: str, group: str) -> None:
        self._cluster, self.topic, self.group = cluster, topic, group
        self._open: list[Consumer] = []

    def send(self, *values: str, partition: int = 0, id: str | None = None) -> None:  # noqa: A002
        self._cluster.send(self.topic, [Input(id, partition, each.encode()) for each in values])

    def consumer(self, *partitions: int) -> Consumer:
        """A consumer that has these partitions, by default 0."""
        made = Consumer(
            {
                "bootstrap.servers": self._cluster.bootstrap_servers,
                "group.id": self.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
            }
        )
        made.assign([TopicPartition(self.topic, each) for each in partitions or (0,)])
        self._open.append(made)
        return made

    def close(self) -> None:
        for each in self._open:
            each.close()


@pytest.fixture
def log(cluster: Cluster, topic: Callable[..., str], namespace: str) -> Iterator[Log]:
    made = Log(cluster, topic("in", partitions=2), namespace)
    made.send("0", "1", "2", "3")
    yield made
    made.close()


def read(consumer: Consumer, count: int) -> list[Message]:
    """Read so many records, whatever events come before."""
    found: list[Message] = []
    while len(found) < count:
        message = consumer.poll(SECONDS)
        assert message is not None, "nothing more came"
        if message.error() is None:
            found.append(message)
    return found


def begun(engine: Engine, log: Log, **settings: Any) -> tuple[eos.Inbox, Consumer]:
    inbox = eos.Inbox(engine, group=log.group, **settings)
    consumer = log.consumer()
    inbox.seek(consumer)
    return inbox, consumer


def settle(engine: Engine, inbox: eos.Inbox, message: Any) -> bool:
    """Settle a record and have its effect, as a loop does."""
    with engine.begin() as db:
        fresh = inbox.settle(db, message)
        if fresh:
            db.execute(text(EFFECT))
        return fresh


def effects(engine: Engine) -> int:
    with engine.connect() as db:
        return int(db.execute(text("SELECT count(*) FROM effects")).scalar() or 0)


# --- through which connection ------------------------------------------------------------------


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
        with pytest.raises(eos.ConfigError, match="is no connection that settle"):
            inbox.settle(wrong, message)
    with pytest.raises(eos.ConfigError, match="takes an AsyncConnection"):
        asyncio.run(inbox.settle_async(engine, message))


# --- rolled back, lost, out of order -----------------------------------------------------------


def test_gaps_in_the_log_are_no_harm(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)

    assert settle(engine, inbox, messages[0])
    assert settle(engine, inbox, messages[3])  # as if 1 and 2 had been compacted away
    assert not settle(engine, inbox, messages[0])


def test_a_record_is_not_passed_over_because_its_transaction_was_rolled_back(
    engine: Engine, log: Log
) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)
    assert settle(engine, inbox, messages[0])
    with engine.connect() as db:
        assert inbox.settle(db, messages[1])
        assert inbox.settle(db, messages[2])
        db.rollback()

    with pytest.raises(eos.AbortableError, match=r"@1 is not settled.*3 would pass over it"):
        settle(engine, inbox, messages[3])
    with pytest.raises(eos.AbortableError, match=r"@1 is not settled.*2 would pass over it"):
        settle(engine, inbox, messages[2])
    inbox.seek(consumer)

    again = read(consumer, 3)
    assert [each.offset() for each in again] == [1, 2, 3]
    assert [settle(engine, inbox, each) for each in again] == [True, True, True]
    assert effects(engine) == 4


def test_a_loop_may_try_the_record_again_that_failed(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)

    for message in read(consumer, 4):
        with contextlib.suppress(ZeroDivisionError), engine.begin() as db:
            assert inbox.settle(db, message)
            db.execute(text(EFFECT))
            raise ZeroDivisionError
        assert settle(engine, inbox, message)

    assert effects(engine) == 4


def test_a_savepoint_that_holds_the_effect_alone_may_be_rolled_back(
    engine: Engine, log: Log
) -> None:
    inbox, consumer = begun(engine, log)

    with engine.begin() as db:
        for message in read(consumer, 4):
            assert inbox.settle(db, message)
            with contextlib.suppress(ZeroDivisionError), db.begin_nested():
                db.execute(text(EFFECT))
                if message.offset() == 2:
                    raise ZeroDivisionError

    assert effects(engine) == 3
    assert [settle(engine, inbox, each) for each in read_again(log, inbox)] == []


def read_again(log: Log, inbox: eos.Inbox) -> list[Message]:
    consumer = log.consumer()
    inbox.seek(consumer)
    return [each for each in consumer.consume(10, 1.0) if each.error() is None]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_commit_whose_answer_was_lost_is_found_out(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    first, second, *_ = read(consumer, 2)
    for message, arrived in ((first, True), (second, False)):
        with psycopg.connect(kinds.address(engine)) as db:
            assert inbox.settle(db, message)
            db.execute(EFFECT)
            if arrived:
                db.pgconn.exec_(b"COMMIT")
            db.pgconn.finish()  # what became of it, this process does not know
            db.close()

    assert not settle(engine, inbox, first)
    assert settle(engine, inbox, second)
    assert effects(engine) == 2


def test_records_of_a_partition_out_of_order_are_noticed(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)
    settle(engine, inbox, messages[0])
    settle(engine, inbox, messages[2])

    with pytest.raises(eos.FatalError, match="in order, in one thread"):
        settle(engine, inbox, messages[1])


def test_nothing_is_settled_before_a_seek(engine: Engine, log: Log) -> None:
    inbox = eos.Inbox(engine, group=log.group)
    consumer = log.consumer()
    consumer.assign([TopicPartition(log.topic, 0, 0)])
    message = read(consumer, 1)[0]

    with pytest.raises(eos.AbortableError, match=r"on_assign=inbox\.seek"):
        settle(engine, inbox, message)


# --- two processes -----------------------------------------------------------------------------


def test_a_zombie_is_told_no_and_what_it_may_still_settle_is_in_order(
    engine: Engine, log: Log
) -> None:
    zombie, reading = begun(engine, log)
    held = read(reading, 4)
    assert settle(engine, zombie, held[0])

    heir, consumer = begun(engine, log)
    mine = read(consumer, 3)
    assert [each.offset() for each in mine] == [1, 2, 3]
    assert settle(engine, heir, mine[0])
    assert settle(engine, heir, mine[1])

    assert [settle(engine, zombie, each) for each in held[1:]] == [False, False, True]
    assert not settle(engine, heir, mine[2])
    assert effects(engine) == 4


def test_a_zombie_cannot_jump_ahead_of_its_heir(engine: Engine, log: Log) -> None:
    zombie, reading = begun(engine, log)
    held = read(reading, 4)
    with engine.connect() as db:  # it settles all in one transaction, which the server ends
        for message in held[:3]:
            assert zombie.settle(db, message)
        db.rollback()
    heir, consumer = begun(engine, log)
    mine = read(consumer, 1)
    assert settle(engine, heir, mine[0])

    with pytest.raises(eos.AbortableError, match="@1 is not settled"):
        settle(engine, zombie, held[3])
    assert effects(engine) == 1


# --- where partitions begin --------------------------------------------------------------------


def test_the_row_and_not_the_offset_says_where_to_begin(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    for message in read(consumer, 3):
        settle(engine, inbox, message)

    _, again = begun(engine, log)

    assert read(again, 1)[0].offset() == 3


def test_without_a_row_kafkas_offset_counts(engine: Engine, log: Log) -> None:
    consumer = log.consumer()
    consumer.commit(offsets=[TopicPartition(log.topic, 0, 2)], asynchronous=False)

    eos.Inbox(engine, group=log.group).seek(consumer)

    assert read(consumer, 1)[0].offset() == 2


def test_without_row_and_offset_the_start_counts(engine: Engine, log: Log) -> None:
    _, consumer = begun(engine, log, start="latest")
    log.send("4")

    assert read(consumer, 1)[0].value() == b"4"
    _, again = begun(engine, log, start="latest")
    assert read(again, 1)[0].value() == b"4"


@pytest.mark.parametrize(
    "strategy", ["range", "cooperative-sticky", "consumer"], ids=["eager", "cooperative", "kip848"]
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_it_begins_partitions_as_the_group_assigns_them(
    engine: Engine, log: Log, cluster: Cluster, strategy: str
) -> None:
    log.send("a", "b", partition=1)
    how = (
        {"group.protocol": "consumer"}
        if strategy == "consumer"
        else {"partition.assignment.strategy": strategy}
    )
    seen: list[bytes | None] = []
    for _ in range(2):
        inbox = eos.Inbox(engine, group=log.group)
        consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap_servers,
                "group.id": log.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                **how,
            }
        )
        consumer.subscribe([log.topic], on_assign=inbox.seek)
        for message in read(consumer, 3):
            assert settle(engine, inbox, message)
            seen.append(message.value())
        consumer.close()

    assert sorted(map(bytes, filter(None, seen))) == [b"0", b"1", b"2", b"3", b"a", b"b"]


def test_a_restored_backup_is_refused_until_told(
    engine: Engine, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)
    for message in messages:
        settle(engine, inbox, message)
    inbox.seek(consumer)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_frontiers SET next_offset = 2"))
        db.execute(text("DELETE FROM effects"))

    with pytest.raises(eos.FatalError, match="went back from 4 to 2: was the database restored"):
        settle(engine, inbox, messages[3])
    with pytest.raises(eos.FatalError, match=r"had come to 4, and its row says 2.*accept_rewind"):
        inbox.seek(consumer)
    with pytest.raises(eos.AbortableError, match="not begun"):
        settle(engine, inbox, messages[3])
    inbox.seek(consumer, accept_rewind=True)

    assert "goes back from 4 to its row, 2" in caplog.text
    again = read(consumer, 2)
    assert [settle(engine, inbox, each) for each in again] == [True, True]


def test_a_committed_offset_above_the_row_shows_a_restored_backup(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    settle(engine, inbox, read(consumer, 1)[0])
    consumer.commit(offsets=[TopicPartition(log.topic, 0, 3)], asynchronous=False)

    with pytest.raises(eos.FatalError, match=r"had come to 3, and its row says 1.*auto\.commit"):
        begun(engine, log)
    eos.Inbox(engine, group=log.group).seek(consumer, accept_rewind=True)

    assert read(consumer, 1)[0].offset() == 1


def test_a_topic_made_anew_starts_clean_under_its_id(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    kafka = {"bootstrap.servers": cluster.bootstrap_servers}
    inbox, consumer = begun(engine, log, kafka=kafka)
    for message in read(consumer, 4):
        assert settle(engine, inbox, message)
    log.close()
    remake(cluster, log.topic)
    log.send("new")

    inbox, consumer = begun(engine, log, kafka=kafka)

    assert settle(engine, inbox, read(consumer, 1)[0])


def test_without_its_id_a_topic_made_anew_is_noticed(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    inbox, consumer = begun(engine, log)
    for message in read(consumer, 4):
        settle(engine, inbox, message)
    log.close()
    remake(cluster, log.topic)
    log.send("new")

    with pytest.raises(eos.FatalError, match="ends at 1, and its row says 4: was the topic made"):
        begun(engine, log)


def remake(cluster: Cluster, topic: str) -> None:
    cluster._admin.delete_topics([topic])[topic].result(SECONDS)  # noqa: SLF001
    cluster.create_named(topic, 2)


def test_rows_by_name_become_rows_by_id_and_old_processes_stop(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    old, consumer = begun(engine, log)
    first, second, *_ = read(consumer, 4)
    settle(engine, old, first)

    new, again = begun(engine, log, kafka={"bootstrap.servers": cluster.bootstrap_servers})

    assert settle(engine, new, read(again, 1)[0])
    with pytest.raises(eos.AbortableError, match="is gone"):
        settle(engine, old, second)
    with pytest.raises(eos.ConfigError, match="under its topic id"):
        old.seek(consumer)
    assert effects(engine) == 2


# --- keys --------------------------------------------------------------------------------------


def test_copies_at_other_positions_are_suppressed_and_written_down(
    engine: Engine, log: Log
) -> None:
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"))
    log.send("same", id="a")
    log.send("same", id="a")
    log.send("same", partition=1, id="a")
    consumer = log.consumer(0, 1)
    inbox.seek(consumer)
    messages = [each for each in read(consumer, 7) if each.value() == b"same"]

    fresh = [settle(engine, inbox, each) for each in sorted(messages, key=place)]

    assert fresh == [True, False, False]
    with engine.connect() as db:
        noted = db.execute(
            text(
                "SELECT partition, record_offset, owner_partition, owner_offset, verdict"
                " FROM eos_suppressed ORDER BY id"
            )
        ).all()
    assert [tuple(row) for row in noted] == [
        (0, 5, 0, 4, "duplicate"),
        (1, 0, 0, 4, "duplicate"),
    ]


def place(message: Message) -> tuple[int, int]:
    return message.partition() or 0, message.offset() or 0


def test_a_copy_is_handled_when_its_owners_transaction_was_rolled_back(
    engine: Engine, log: Log
) -> None:
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"))
    log.send("same", partition=1, id="a")
    log.send("same", partition=1, id="a")
    consumer = log.consumer(1)
    inbox.seek(consumer)
    owner, copy = read(consumer, 2)
    with engine.connect() as db:
        assert inbox.settle(db, owner)
        assert not inbox.settle(db, copy)
        db.rollback()

    assert settle(engine, inbox, owner)
    assert not settle(engine, inbox, copy)
    assert effects(engine) == 1


def test_another_payload_under_the_same_key_is_never_dropped_in_silence(
    engine: Engine, log: Log
) -> None:
    log.send("one", "other", partition=1, id="a")
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"))
    consumer = log.consumer(1)
    inbox.seek(consumer)
    first, second = read(consumer, 2)
    assert settle(engine, inbox, first)

    for _ in range(2):  # rolled back, it comes again
        with pytest.raises(eos.ConflictError, match="another payload: put it aside"):
            settle(engine, inbox, second)
    with engine.begin() as db:
        with pytest.raises(eos.ConflictError):
            inbox.settle(db, second)
        db.execute(text("INSERT INTO effects (record) VALUES (0)"))  # put aside
    assert not settle(engine, inbox, second)

    tolerant = eos.Inbox(
        engine, group=f"{log.group}2", key=eos.header("message-id"), conflict="handle"
    )
    consumer = log.consumer(1)
    tolerant.seek(consumer)
    assert [settle(engine, tolerant, each) for each in (first, second)] == [True, True]


def test_keys_older_than_the_window_are_forgotten(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eos.doors.inbox.inbox.PRUNE_EVERY", 1)
    inbox = eos.Inbox(engine, group=log.group, key=eos.payload_hash(), window="1h")
    consumer = log.consumer()
    inbox.seek(consumer)
    for message in read(consumer, 3):
        settle(engine, inbox, message)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_inbox_keys SET log_time = log_time - 7200"))

    settle(engine, inbox, read(consumer, 1)[0])

    with engine.connect() as db:
        kept = db.execute(text("SELECT record_offset FROM eos_inbox_keys")).all()
    assert [row[0] for row in kept] == [3]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_copy_waits_for_its_owners_transaction_to_end(engine: Engine, log: Log) -> None:
    log.send("same", partition=0, id="a")
    log.send("same", partition=1, id="a")
    key = eos.header("message-id")
    owner = eos.Inbox(engine, group=log.group, key=key)
    reading = log.consumer(0)
    owner.seek(reading)
    mine = read(reading, 5)[4]
    other = eos.Inbox(engine, group=log.group, key=key)
    consumer = log.consumer(1)
    other.seek(consumer)
    theirs = read(consumer, 1)[0]

    impatient = create_engine(engine.url, connect_args={"options": "-c lock_timeout=200"})
    with engine.connect() as db:
        assert owner.settle(db, mine)
        with pytest.raises(eos.RetriableError, match="locked by another"):
            settle(impatient, other, theirs)
        db.commit()
    impatient.dispose()

    assert not settle(engine, other, theirs)


# --- bad input ---------------------------------------------------------------------------------


def test_a_database_without_tables_is_refused_at_the_seek(log: Log, tmp_path: Path) -> None:
    inbox = eos.Inbox(f"sqlite:///{tmp_path / 'empty.sqlite'}", group=log.group)

    with pytest.raises(eos.ConfigError, match="run `eos db create"):
        inbox.seek(log.consumer())


def test_tables_that_go_away_meanwhile_are_named(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    with engine.begin() as db:
        db.execute(text("DROP TABLE eos_frontiers"))

    with pytest.raises(eos.ConfigError, match="eos db create"):
        settle(engine, inbox, read(consumer, 1)[0])


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_database_that_takes_no_writes_may_do_so_later(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]
    read_only = create_engine(
        engine.url, connect_args={"options": "-c default_transaction_read_only=on"}
    )

    with pytest.raises(eos.RetriableError, match="takes no writes"):
        settle(read_only, inbox, message)
    read_only.dispose()

    assert settle(engine, inbox, message)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_serialization_failures_may_be_tried_again(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    other, _ = begun(engine, log)
    message = read(consumer, 1)[0]
    strict = engine.execution_options(isolation_level="REPEATABLE READ")

    with strict.connect() as slow:
        slow.execute(text("SELECT * FROM effects"))  # its snapshot is from before
        assert settle(engine, inbox, message)
        with pytest.raises(eos.RetriableError, match="undid the transaction"):
            other.settle(slow, message)

    assert not settle(engine, other, message)
    assert effects(engine) == 1


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_database_that_is_away_is_waited_for(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]
    with engine.connect() as db, engine.connect() as killer:
        pid = db.execute(text("SELECT pg_backend_pid()")).scalar()
        killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(eos.RetriableError, match="is away"):
            inbox.settle(db, message)

    assert settle(engine, inbox, message)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_settings_that_mean_nothing_are_refused(engine: Engine) -> None:
    wrong: list[dict[str, Any]] = [{"group": ""}, {"start": "middle"}, {"conflict": "drop"}]
    for each in wrong:
        with pytest.raises(eos.ConfigError):
            eos.Inbox(engine, **{"group": "g", **each})
    with pytest.raises(eos.ConfigError, match="is no database that eos knows"):
        eos.Inbox("redis://localhost", group="g")
