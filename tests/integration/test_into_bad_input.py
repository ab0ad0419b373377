"""A database that is away, full, locked, read-only or odd: told or waited for, and nothing lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text

from eos.core.errors import ConfigError, FatalError
from eos.core.events import Aborted, Retried, Waiting
from eos.core.record import Record
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.handle import Step
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.into_kit import Bank
from tests.integration.into_worker import Tellers
from tests.integration.lines import Running
from tests.integration.processes import quick

Handler = Callable[[Record, Connection], None]
transfer = Tellers(stumbles=False, pause=0).transfer
POSTGRES = pytest.mark.parametrize("database_kind", ["postgresql"])
SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=2), namespace, engine, seed=41)


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace, backoff="50ms"))


@pytest.fixture
def mine(engine: Engine) -> Iterator[Engine]:
    """The engine that the line is given: the bank looks on through its own."""
    waits = {"timeout": 0.2} if engine.dialect.name == "sqlite" else {}
    made = create_engine(engine.url, connect_args=waits)
    yield made
    made.dispose()


def moves(settings: Settings, bank: Bank, into: Engine, handler: Handler = transfer) -> Running:
    """A line that moves the bank's money."""
    return Running(settings, [Step(bank.source, None, handler, False, "transfer", into=into)])


def told(line: Running) -> str:
    """Give what the line said about what it gave up."""
    return "\n".join(each.detail for each in line.saw(Aborted))


def insists(line: Running, words: str) -> None:
    """See that the line tries again and again, and says why."""
    line.until(lambda line: told(line).count(words) >= 3, words)


# --- it takes no writes -------------------------------------------------------------------------


@contextmanager
def postgres_takes_no_writes(bank: Bank) -> Iterator[None]:
    def set_to(value: str) -> None:
        with bank.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            name = bank.engine.url.database
            db.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}'))
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
            db.execute(text(f"{others} current_database() AND pid <> pg_backend_pid()"))

    set_to("on")
    yield
    bank.engine.dispose()
    writes = bank.engine.connect()
    writes.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
    writes.commit()
    writes.close()
    set_to("off")


@contextmanager
def sqlite_is_set(into: Engine, there: str, back: str) -> Iterator[None]:
    """Execute one PRAGMA whenever a connection is used, and another one in the end."""
    pragmas = [there]

    def checkout(connection: Any, *_: object) -> None:
        connection.execute(pragmas[0])

    event.listen(into, "checkout", checkout)
    yield
    pragmas[0] = back


@POSTGRES
def test_postgres_that_takes_no_writes_is_waited_for(
    settings: Settings, bank: Bank, mine: Engine
) -> None:
    bank.send(10)
    with moves(settings, bank, mine) as line:
        bank.await_settled()
        with postgres_takes_no_writes(bank):
            bank.send(10)
            insists(line, "takes no writes: point at the primary")
        bank.await_settled()
    bank.assert_exact()


@SQLITE
def test_sqlite_that_takes_no_writes_is_waited_for(
    settings: Settings, bank: Bank, mine: Engine
) -> None:
    bank.send(10)
    with moves(settings, bank, mine) as line:
        bank.await_settled()
        with sqlite_is_set(mine, "PRAGMA query_only = ON", "PRAGMA query_only = OFF"):
            bank.send(10)
            insists(line, "takes no writes")
        bank.await_settled()
        assert not line.saw(Retried)
    bank.assert_exact()


@SQLITE
def test_sqlite_that_is_locked_by_somebody_for_long_is_waited_for(
    settings: Settings, bank: Bank, mine: Engine
) -> None:
    bank.send(10)
    with moves(settings, bank, mine) as line:
        bank.await_settled()
        with bank.engine.connect() as db:
            db.exec_driver_sql("BEGIN IMMEDIATE")
            bank.send(10)
            line.until(lambda line: len(_waits(line)) >= 3, "a word about the database")
            db.rollback()
        bank.await_settled()
        assert "is locked by another transaction" in told(line)
        assert not line.saw(Retried)
    bank.assert_exact()


def _waits(line: Running) -> list[Waiting]:
    return [each for each in line.saw(Waiting) if each.on == "database"]


# --- it is full ---------------------------------------------------------------------------------


@SQLITE
def test_sqlite_that_is_full_is_waited_for(settings: Settings, bank: Bank, mine: Engine) -> None:
    def at_length(record: Record, db: Connection) -> None:
        transfer(record, db)
        db.execute(text("INSERT INTO effects VALUES (:much)"), {"much": "x" * 10_000})

    with bank.engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar()
    bank.send(10)
    full = f"PRAGMA max_page_count = {pages}"
    with (
        moves(settings, bank, mine, at_length) as line,
        sqlite_is_set(mine, full, "PRAGMA max_page_count = 1000000"),
    ):
        insists(line, "has no room left: free its disk")
        assert bank.done() == 0
        assert not line.saw(Retried)
    with moves(settings, bank, mine, at_length):
        bank.await_settled()
    bank.assert_exact()


# --- other transactions -------------------------------------------------------------------------


@POSTGRES
def test_a_deadlock_with_another_session_is_done_again_and_no_try_is_counted(
    settings: Settings, bank: Bank
) -> None:
    quickly = create_engine(
        bank.engine.url, connect_args={"options": "-c deadlock_timeout=100ms"}
    )  # who looks first is the one that is given up
    other = create_engine(bank.engine.url, connect_args={"options": "-c deadlock_timeout=60s"})
    touch = text("UPDATE accounts SET balance = balance WHERE name = :name")
    threads: list[Thread] = []
    left = 3

    def entangled(record: Record, db: Connection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            transfer(record, db)
            return
        if threads:
            threads[-1].join()  # it got what it waited for when we were rolled back
        theirs = other.connect()
        theirs.execute(touch, {"name": 1})
        db.execute(touch, {"name": 0})

        def waits_for_us() -> None:
            with theirs:
                theirs.execute(touch, {"name": 0})

        threads.append(Thread(target=waits_for_us))
        threads[-1].start()
        assert wait_until(lambda: _waiting(bank.engine) == 1, seconds=SECONDS)
        db.execute(touch, {"name": 1})

    bank.send(10)
    with moves(settings, bank, quickly, entangled) as line:
        bank.await_settled()
        assert "undid the transaction because of another one" in told(line)
        assert not line.saw(Retried)
    bank.assert_exact()
    quickly.dispose()
    other.dispose()


def _waiting(engine: Engine) -> int:
    with engine.connect() as db:
        return int(db.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


@POSTGRES
def test_what_cannot_be_serialized_is_done_again_and_no_try_is_counted(
    settings: Settings, bank: Bank
) -> None:
    strict = create_engine(bank.engine.url, isolation_level="SERIALIZABLE")
    left = 3

    def overtaken(record: Record, db: Connection) -> None:
        nonlocal left
        left -= 1
        if left >= 0:  # our snapshot is from before
            with bank.engine.begin() as theirs:
                theirs.execute(text("UPDATE accounts SET balance = balance"))
        transfer(record, db)

    bank.send(10)
    with moves(settings, bank, strict, overtaken) as line:
        bank.await_settled()
        assert "undid the transaction because of another one" in told(line)
        assert not line.saw(Retried)
    bank.assert_exact()
    strict.dispose()


# --- it is not what it was ----------------------------------------------------------------------


def test_tables_of_an_older_version_are_told_with_the_command_that_brings_them_up(
    settings: Settings, bank: Bank, mine: Engine
) -> None:
    with bank.engine.begin() as db:
        db.execute(text("UPDATE eos_schema SET version = 0"))
    with moves(settings, bank, mine) as line:
        error = line.failed()
    assert isinstance(error, ConfigError)
    assert "run `eos db migrate" in str(error)


def test_a_table_that_goes_away_meanwhile_is_told_with_the_command_that_makes_it(
    settings: Settings, bank: Bank, mine: Engine
) -> None:
    bank.send(10)
    with moves(settings, bank, mine) as line:
        bank.await_settled()
        with bank.engine.begin() as db:
            db.execute(text("ALTER TABLE eos_frontiers RENAME TO gone"))
        bank.cluster.send(bank.source, [bank.order(0, 1, 0)])
        error = line.failed()
    assert isinstance(error, ConfigError)
    assert "run `eos db create" in str(error)
    with bank.engine.begin() as db:
        db.execute(text("ALTER TABLE gone RENAME TO eos_frontiers"))
    bank.records[0].append(bank.sent[-1])
    with moves(settings, bank, mine):
        bank.await_settled()
    bank.assert_exact()


# --- a handler that ends the transaction that it was given ---------------------------------------


@pytest.mark.parametrize("then", ["returns", "raises"])
@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_handler_that_ends_its_transaction_stops_the_worker_before_it_does_so_again(
    settings: Settings, bank: Bank, mine: Engine, how: str, then: str
) -> None:
    calls = 0

    def ends(record: Record, db: Connection) -> None:
        nonlocal calls
        calls += 1
        transfer(record, db)
        getattr(db, how)()
        if then == "raises":
            raise ValueError("and this is not all")

    bank.put([bank.order(0, 1, 0)])
    with moves(settings, bank, mine, ends) as line:
        error = line.failed()
    assert isinstance(error, FatalError), error
    assert "the handler committed, or rolled back" in str(error)
    assert calls == 1
    assert set(bank.rows().values()) == {0}
