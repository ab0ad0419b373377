"""One suite for what a relay asks of an outbox, on PostgreSQL and SQLite."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

import eos
from eos.core.errors import AbortableError, ConfigError
from eos.core.outbox import SHARDS, Progress, shard_of
from eos.stores.sql import tables
from eos.stores.sql.outbox import SqlOutbox, SqlRows
from tests.conformance import outbox_broken as broken

KEY, OTHER_KEY = "k", "a"
SHARD, OTHER = shard_of(KEY.encode()), shard_of(OTHER_KEY.encode())
OUTBOX_TABLES = ("", "_scheduled", "_published", "_dead", "_shards")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'outbox.db'}"
    else:
        url = request.getfixturevalue("ledger_url")
    made = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    tables.create(made)
    with made.begin() as db:
        for name in OUTBOX_TABLES:
            db.execute(text(f"DELETE FROM eos_outbox{name}"))  # noqa: S608
    SqlOutbox(made).take("namespace")
    yield made
    made.dispose()


@pytest.fixture
def rows(engine: Engine) -> Iterator[SqlRows]:
    made = SqlOutbox(engine).shard(SHARD)
    yield made
    made.close()


def add(engine: Engine, *values: str, key: str = KEY, deliver_at: float | None = None) -> None:
    with engine.begin() as db:
        sends = [eos.Send(value, "topic", key) for value in values]
        eos.Outbox(engine).add_all(db, sends, deliver_at=deliver_at)


def record(rows: SqlRows, known: Progress, limit: int = 100) -> tuple[Progress, list[str]]:
    """Take the next batch, as if the one before had been published."""
    known, found = rows.record(known, limit, published=bool(known.recorded))
    return known, [(row.value or b"").decode() for row in found]


def count(engine: Engine, name: str = "") -> int:
    with engine.connect() as db:
        asked = text(f"SELECT count(*) FROM eos_outbox{name}")  # noqa: S608
        return int(db.execute(asked).scalar_one())


def test_rows_become_batches_in_the_order_in_which_they_were_added(
    engine: Engine, rows: SqlRows
) -> None:
    add(engine, *"12345")
    add(engine, *"67", key=OTHER_KEY)
    assert OTHER != SHARD

    known, first = record(rows, rows.progress(), 3)
    known, second = record(rows, known, 3)
    known, third = record(rows, known, 3)

    assert (first, second, third) == (["1", "2", "3"], ["4", "5"], [])
    assert (known.sent, known.recorded) == (2, ())
    assert count(engine) == 2  # those of the other shard


def test_a_row_says_all_that_was_added(engine: Engine, rows: SqlRows) -> None:
    headers = [("message-id", b"x"), ("a", b"\xff\x00"), ("a", "ä".encode())]
    with engine.begin() as db:
        eos.Outbox(engine).add(db, "topic", b"\x00\xff", key=KEY, headers=headers)
        eos.Outbox(engine).add(db, "other", None, key=KEY, headers=headers)

    _, (one, two) = rows.record(rows.progress(), 9, published=False)

    assert (one.topic, one.key, one.value) == ("topic", b"k", b"\x00\xff")
    assert (two.topic, two.value) == ("other", None)
    assert one.headers == two.headers == headers
    assert 0 <= time.time() - one.added < 60


def test_a_batch_that_is_not_published_stays_what_it_is(engine: Engine, rows: SqlRows) -> None:
    add(engine, *"12")
    known, found = rows.record(rows.progress(), 9, published=False)
    add(engine, "3")

    again, found_again = rows.record(known, 9, published=False)

    assert (again, list(found_again)) == (known, list(found))
    successor = SqlOutbox(engine).shard(SHARD)
    assert successor.progress() == known
    assert successor.rows(known.recorded) == list(found)


def test_who_does_not_know_of_a_change_changes_nothing(engine: Engine, rows: SqlRows) -> None:
    add(engine, *"123")
    stale = rows.progress()
    known, _ = rows.record(stale, 2, published=False)
    narrowed = rows.narrow(known, known.recorded[:1])
    before = count(engine), count(engine, "_dead"), rows.progress()

    for old in (stale, known):
        with pytest.raises(AbortableError) as raised:
            rows.record(old, 9, published=True)
        assert raised.value.cause == "outbox_fenced"
        with pytest.raises(AbortableError):
            rows.narrow(old, [])
        with pytest.raises(AbortableError):
            rows.bury(old, {known.recorded[0]: "reason"})

    assert (count(engine), count(engine, "_dead"), rows.progress()) == before
    assert before[2] == narrowed


def test_what_was_taken_out_of_a_batch_comes_with_the_next_one(
    engine: Engine, rows: SqlRows
) -> None:
    add(engine, *"1234")
    known, _ = rows.record(rows.progress(), 9, published=False)
    known = rows.narrow(known, known.recorded[:1])
    assert [row.value for row in rows.rows(known.recorded)] == [b"1"]

    known, rest = record(rows, known)

    assert (rest, known.sent) == (["2", "3", "4"], 1)


def test_buried_rows_are_put_aside_with_their_reasons(engine: Engine, rows: SqlRows) -> None:
    add(engine, *"123")
    known, _ = rows.record(rows.progress(), 9, published=False)
    one, _, three = known.recorded

    known = rows.bury(known, {one: "too large", three: "no topic"})

    assert [row.value for row in rows.rows(known.recorded)] == [b"2"]
    with engine.connect() as db:
        found = db.execute(text("SELECT value, reason FROM eos_outbox_dead ORDER BY id")).all()
    assert [(bytes(row[0]), row[1]) for row in found] == [(b"1", "too large"), (b"3", "no topic")]
    assert SqlOutbox(engine).backlog().dead == 2


def test_scheduled_rows_come_when_it_is_time_and_in_the_order_of_their_times(
    engine: Engine, rows: SqlRows
) -> None:
    now = time.time()
    add(engine, "later", deliver_at=now + 3600)
    add(engine, "second", deliver_at=now - 10)
    add(engine, "first", deliver_at=now - 20)
    known, found = record(rows, rows.progress())
    assert found == ["first", "second"]
    known, found = record(rows, known)
    assert found == []
    assert SqlOutbox(engine).backlog()._replace(oldest=0) == (0, 0, 1, 0)

    add(engine, "soon", deliver_at=time.time() + 0.2)
    record(rows, known)  # it learns of it
    until = time.monotonic() + 30
    while not found and time.monotonic() < until:
        rows.wait(5)
        known, found = record(rows, known)
    assert found == ["soon"]


def test_the_backlog_tells_how_long_the_oldest_row_has_waited(engine: Engine) -> None:
    assert SqlOutbox(engine).backlog() == (0, 0.0, 0, 0)
    add(engine, "old", "new")
    with engine.begin() as db:
        db.execute(
            text("UPDATE eos_outbox SET added_ms = added_ms - 60000 WHERE value = :value"),
            {"value": b"old"},
        )
    found = SqlOutbox(engine).backlog()
    assert found.rows == 2
    assert 60 <= found.oldest < 120


def test_published_rows_are_kept_for_a_while(engine: Engine) -> None:
    rows = SqlOutbox(engine, keep=3600).shard(SHARD)
    add(engine, *"12")
    known, _ = rows.record(rows.progress(), 9, published=False)
    rows.record(known, 9, published=True)
    assert (count(engine), count(engine, "_published")) == (0, 2)
    assert not rows.forget()
    assert count(engine, "_published") == 2
    rows.close()

    impatient = SqlOutbox(engine).shard(SHARD)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_outbox_published SET published_ms = published_ms - 1000"))
    assert not impatient.forget()
    assert count(engine, "_published") == 0
    impatient.close()


def test_a_commit_that_adds_a_row_ends_a_wait_and_a_roll_back_adds_none(
    engine: Engine, rows: SqlRows
) -> None:
    rows.wait(0)  # from here on it listens
    while rows.wait(0.05):
        pass
    with engine.connect() as db:
        eos.Outbox(engine).add(db, "topic", "1", key=KEY)
        db.rollback()
    assert not rows.wait(0.05)
    add(engine, "2")
    assert rows.wait(30)


def test_an_outbox_is_relayed_under_one_namespace(engine: Engine) -> None:
    SqlOutbox(engine).take("namespace")
    with pytest.raises(ConfigError, match="relayed under 'namespace'"):
        SqlOutbox(engine).take("another")
    with engine.connect() as db:
        found = db.execute(text("SELECT shard, namespace FROM eos_outbox_shards ORDER BY shard"))
        assert found.all() == [(shard, "namespace") for shard in range(SHARDS)]


def test_ids_are_never_used_again(engine: Engine, rows: SqlRows) -> None:
    add(engine, "1")
    known, (first,) = rows.record(rows.progress(), 9, published=False)
    known, _ = rows.record(known, 9, published=True)
    assert count(engine) == 0
    add(engine, "2")
    _, (second,) = rows.record(known, 9, published=False)
    assert second.id > first.id


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (broken.NoCompare, test_who_does_not_know_of_a_change_changes_nothing),
        (broken.DeletesBelow, test_what_was_taken_out_of_a_batch_comes_with_the_next_one),
        (broken.Early, test_scheduled_rows_come_when_it_is_time_and_in_the_order_of_their_times),
        (broken.Unordered, test_rows_become_batches_in_the_order_in_which_they_were_added),
    ],
)
def test_a_broken_store_is_found_out(
    engine: Engine, kind: type[SqlRows], claim: Callable[[Engine, SqlRows], None]
) -> None:
    rows = kind(engine, SHARD, 0.0)
    try:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            claim(engine, rows)
    finally:
        rows.close()
