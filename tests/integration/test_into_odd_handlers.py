"""What else handlers do with the connection that `into=` gives them, and what becomes of it."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import eos
from eos.core.errors import FatalError
from eos.core.events import Retried, Settled
from eos.core.record import Record
from eos.core.settings import Settings
from eos.handle import Step
from tests.integration.cluster import Cluster
from tests.integration.into_kit import Bank
from tests.integration.into_worker import Tellers
from tests.integration.lines import Running
from tests.integration.processes import quick

Handler = Callable[[Record, Connection], None]
ALREADY_THERE = text("INSERT INTO accounts VALUES (0, 0)")
transfer = Tellers(stumbles=False, pause=0).transfer


class Base(DeclarativeBase):
    """Of the bank's tables."""


class Account(Base):
    __tablename__ = "accounts"
    name: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=2), namespace, engine, seed=71)


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace, backoff="20ms", retries=1))


@pytest.fixture
def mine(engine: Engine) -> Iterator[Engine]:
    made = create_engine(engine.url)
    yield made
    made.dispose()


def moves(settings: Settings, bank: Bank, into: Engine, handler: Handler) -> Running:
    return Running(settings, [Step(bank.source, None, handler, False, "transfer", into=into)])


def a_session_that_commits(record: Record, db: Connection) -> None:
    with Session(db) as session:
        transfer(record, session.connection())
        session.commit()


def a_savepoint_that_is_given_up(record: Record, db: Connection) -> None:
    point = db.begin_nested()
    transfer(record, db)
    point.rollback()
    transfer(record, db)


def a_savepoint_that_is_left_open(record: Record, db: Connection) -> None:
    db.begin_nested()
    transfer(record, db)


@pytest.mark.parametrize(
    "handler", [a_session_that_commits, a_savepoint_that_is_given_up, a_savepoint_that_is_left_open]
)
def test_a_handler_may_use_sessions_and_savepoints_of_its_own(
    settings: Settings, bank: Bank, mine: Engine, handler: Handler
) -> None:
    bank.send(10)
    with moves(settings, bank, mine, handler):
        bank.await_settled()
    bank.assert_exact()


def a_flush_that_fails(record: Record, db: Connection) -> None:
    with Session(db) as session:
        transfer(record, session.connection())
        session.add(Account(name=0, balance=0))
        session.commit()


def a_session_that_rolls_back(record: Record, db: Connection) -> None:
    with Session(db) as session:
        transfer(record, session.connection())
        session.rollback()
        raise ValueError


def a_statement_that_fails(record: Record, db: Connection) -> None:
    transfer(record, db)
    db.execute(ALREADY_THERE)


@pytest.mark.parametrize(
    "handler", [a_flush_that_fails, a_session_that_rolls_back, a_statement_that_fails]
)
def test_what_fails_in_a_handler_fails_alone_whatever_library_it_is_in(
    settings: Settings, bank: Bank, mine: Engine, handler: Handler
) -> None:
    bank.put([bank.order(0, 1, 0), bank.order(1, 2, 0)])
    bad = bank.sent[0]

    def of_one(record: Record, db: Connection) -> None:
        (handler if record.idempotency_key == bad else transfer)(record, db)

    with moves(settings, bank, mine, of_one) as line:
        bank.await_settled()
        assert len(line.saw(Retried)) == settings.retries
        assert [letter.reason for event in line.saw(Settled) for letter in event.letters] == [
            "handler_failed"
        ]
    with pytest.raises(AssertionError, match=rf"lost=\['{bad}'\] twice=\{{\}} strange=\[\]"):
        bank.assert_exact()


def closes(record: Record, db: Connection) -> None:
    transfer(record, db)
    db.close()


def invalidates(record: Record, db: Connection) -> None:
    transfer(record, db)
    db.invalidate()


@pytest.mark.parametrize("handler", [closes, invalidates])
def test_a_handler_that_gives_the_connection_back_stops_the_worker(
    settings: Settings, bank: Bank, mine: Engine, handler: Handler
) -> None:
    bank.send(4)
    with moves(settings, bank, mine, handler) as line:
        error = line.failed()
    assert isinstance(error, FatalError)
    assert "the handler committed, or rolled back" in str(error)
    assert bank.done() == 0


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_database_that_goes_away_while_a_row_is_added_to_an_outbox_is_waited_for(
    settings: Settings, bank: Bank, mine: Engine, engine: Engine
) -> None:
    outbox = eos.Outbox(mine)
    lost: list[int] = []

    def adds(record: Record, db: Connection) -> None:
        transfer(record, db)
        if not lost:
            lost.append(db.execute(text("SELECT pg_backend_pid()")).scalar_one())
            with engine.connect() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": lost[0]})
        outbox.add(db, "elsewhere", record.idempotency_key)

    bank.send(10)
    with moves(settings, bank, mine, adds):
        bank.await_settled()
    bank.assert_exact()
    with engine.connect() as db:
        rows = db.execute(text("SELECT convert_from(value, 'UTF8') FROM eos_outbox")).scalars()
        assert sorted(rows) == sorted(bank.sent)
