"""Transactions that write, and relays that read, at once: nothing is lost, overtaken or split.

PostgreSQL only: SQLite lets one transaction write at a time.
"""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

import eos
from eos.core.errors import AbortableError
from eos.core.outbox import SHARDS, Progress, shard_of
from eos.stores.sql import tables
from eos.stores.sql.outbox import SqlOutbox, SqlRows
from tests.conformance.outbox_broken import OnlyNewer
from tests.conformance.test_outbox_stores import KEY, SHARD, record

MANY = 100_000
AGGREGATES, WRITERS, EACH = 3, 6, 40


@pytest.fixture
def engine(ledger_url: str) -> Iterator[Engine]:
    made = create_engine(ledger_url.replace("postgresql://", "postgresql+psycopg://"), pool_size=20)
    tables.create(made)
    with made.begin() as db:
        db.execute(text("TRUNCATE eos_outbox, eos_outbox_shards, eos_outbox_dead"))
    SqlOutbox(made).take("namespace")
    yield made
    made.dispose()


@pytest.fixture
def rows(engine: Engine) -> SqlRows:
    return SqlOutbox(engine).shard(SHARD)


def add(db: Connection, value: str, key: str = KEY) -> None:
    eos.Outbox(db.engine).add(db, "topic", value, key=key)


def test_a_row_whose_transaction_commits_late_is_not_passed_over(
    engine: Engine, rows: SqlRows
) -> None:
    with engine.connect() as late:
        add(late, "late")  # it has the lower id
        with engine.begin() as db:
            add(db, "early")
        known, found = record(rows, rows.progress())
        assert found == ["early"]
        late.commit()
    known, found = record(rows, known)
    assert found == ["late"]
    _, found = record(rows, known)
    assert found == []


def test_a_transaction_that_is_open_for_long_holds_nobody_up(engine: Engine, rows: SqlRows) -> None:
    with engine.connect() as long, engine.connect() as reader:
        add(long, "long")
        reader.execute(text("SELECT count(*) FROM eos_outbox")).scalar()
        known = rows.progress()
        for value in "123":
            with engine.begin() as db:
                add(db, value)
            known, found = record(rows, known)
            assert found == [value]


def test_who_takes_only_what_is_newer_loses_it(engine: Engine) -> None:
    with pytest.raises(AssertionError):
        test_a_row_whose_transaction_commits_late_is_not_passed_over(
            engine, OnlyNewer(engine, SHARD, 0.0)
        )


def test_what_is_rolled_back_never_shows(engine: Engine, rows: SqlRows) -> None:
    with engine.connect() as db:
        add(db, "never")
        known, found = record(rows, rows.progress())
        assert found == []
        db.rollback()
    assert record(rows, known)[1] == []


def test_the_order_of_an_aggregate_is_that_of_its_transactions(engine: Engine) -> None:
    """Writers lock an aggregate, add, and commit; ids of other ones come in between."""
    names = [f"aggregate-{n}" for n in range(AGGREGATES)]
    with engine.begin() as db:
        db.execute(text("CREATE TABLE aggregates (name TEXT PRIMARY KEY, version INTEGER)"))
        made = [{"name": name} for name in names]
        db.execute(text("INSERT INTO aggregates VALUES (:name, 0)"), made)
    move = text("UPDATE aggregates SET version = version + 1 WHERE name = :name RETURNING version")

    def write(number: int) -> None:
        for turn in range(EACH):
            name = names[(number + turn) % AGGREGATES]
            with engine.begin() as db:
                version = db.execute(move, {"name": name}).scalar_one()
                add(db, f"{name} {version}", key=name)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    found: dict[str, list[int]] = {name: [] for name in names}
    shards = {n: SqlOutbox(engine).shard(n) for n in range(SHARDS)}
    known: dict[int, Progress] = {n: rows.progress() for n, rows in shards.items()}
    until = time.monotonic() + 60
    while sum(map(len, found.values())) < WRITERS * EACH:
        for number, rows in shards.items():
            known[number], values = record(rows, known[number], limit=3)
            for value in values:
                name, version = value.split()
                found[name].append(int(version))
        assert time.monotonic() < until, found
    for writer in writers:
        writer.join()

    assert {
        name: versions == sorted(versions) for name, versions in found.items()
    } == dict.fromkeys(names, True)
    assert sum(len(set(versions)) for versions in found.values()) == WRITERS * EACH
    with engine.begin() as db:
        db.execute(text("DROP TABLE aggregates"))


def test_two_relays_of_one_shard_never_have_two_batches(engine: Engine, rows: SqlRows) -> None:
    with engine.begin() as db:
        for value in "1234":
            add(db, value)
    other = SqlOutbox(engine).shard(SHARD)
    known, both = rows.progress(), other.progress()
    known, first = rows.record(known, 2, published=False)
    with pytest.raises(AbortableError):
        other.record(both, 2, published=False)
    assert other.progress() == known
    assert other.rows(known.recorded) == list(first)


def test_the_next_batch_is_found_by_its_index_whatever_the_statistics_say(
    engine: Engine, rows: SqlRows
) -> None:
    """1. Statistics are gathered while all shards have rows.
    2. Ours is emptied, and others are held up: the planner believes that any row may be ours.
    3. By the order of the ids it would pass over all of theirs to find our next one.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.execute(
            text(
                "INSERT INTO eos_outbox (shard, topic, message_id, headers, added_ms)"
                " SELECT n % :shards, 'topic', 'id', '[]', 0 FROM generate_series(1, :many) AS n"
            ),
            {"shards": SHARDS, "many": MANY},
        )
        db.execute(text("ANALYZE eos_outbox"))
        db.execute(text("DELETE FROM eos_outbox WHERE shard = :shard"), {"shard": SHARD})
        db.execute(text("VACUUM eos_outbox"))
    before = read(engine)

    known, found = record(rows, rows.progress())
    assert found == []
    with engine.begin() as db:
        add(db, "1")
    known, found = record(rows, known)
    assert found == ["1"]
    record(rows, known)

    after = read(engine)
    # Our one row, when it is looked for, taken, and deleted.
    assert {name: after[name] - before[name] < 20 for name in after} == dict.fromkeys(after, True)


def read(engine: Engine) -> dict[str, int]:
    """Count how many rows were read of the table, and by each of its indexes."""
    for _ in range(20):  # every connection of the pool tells what it has counted
        with engine.connect() as db:
            db.execute(text("SELECT pg_stat_force_next_flush()"))
    with engine.connect() as db:
        found: dict[str, int] = dict(
            db.execute(
                text(
                    "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes"
                    " WHERE relname = 'eos_outbox'"
                )
            ).all()
        )
        table = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'eos_outbox'"
        return {**found, "": db.execute(text(table)).scalar_one()}


def test_the_shard_of_a_key_is_the_one_of_its_rows(engine: Engine) -> None:
    with engine.begin() as db:
        for key in ("a", "order-1", "order-2"):
            add(db, "value", key=key)
    with engine.connect() as db:
        found = db.execute(text("SELECT record_key, shard FROM eos_outbox")).all()
    assert all(shard == shard_of(bytes(key)) for key, shard in found)
