"""What an inbox cannot work with is told, and nothing is lost by it."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

import eos
from tests.integration import inbox_kinds as kinds
from tests.integration.cluster import SECONDS
from tests.integration.inbox_kit import Log, begun, effects, read, settle


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


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_event_is_not_taken_for_the_record_that_comes_next(engine: Engine, log: Log) -> None:
    inbox = eos.Inbox(engine, group=log.group)
    consumer = log.consumer(**{"enable.partition.eof": True})
    inbox.seek(consumer)
    read(consumer, 4)
    event = consumer.poll(SECONDS)
    assert event is not None
    assert event.error() is not None

    with pytest.raises(eos.ConfigError, match=r"look at message\.error\(\) first"):
        settle(engine, inbox, event)
    with pytest.raises(eos.ConfigError, match="has no offset"):
        settle(engine, inbox, object())


@pytest.mark.parametrize(("database_kind", "kind"), kinds.KINDS)
def test_what_any_driver_raises_is_told_in_the_same_words(
    engine: Engine, log: Log, kind: str
) -> None:
    inbox, consumer = begun(engine, log)
    message = read(consumer, 1)[0]
    with engine.begin() as db:
        db.execute(text("DROP TABLE eos_frontiers"))

    with (
        kinds.connect(engine, kind) as opened,
        pytest.raises(eos.ConfigError, match="lacks tables of eos: run `eos db create URL`"),
    ):
        inbox.settle(opened.db, message)
