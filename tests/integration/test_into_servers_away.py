"""PostgreSQL goes away, a backup comes back, a file may not grow: money still moves once."""

import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import Engine, create_engine, text

from eos.core.errors import FatalError
from eos.core.events import Aborted, Waiting
from eos.core.settings import Settings
from eos.devstack import Server, Stack
from eos.devstack.waiting import wait_until
from eos.handle import Step
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.into_kit import Bank, Teller, fresh, url
from tests.integration.into_worker import Tellers
from tests.integration.lines import Running
from tests.integration.processes import quick

transfer = Tellers(stumbles=False, pause=0).transfer


@pytest.fixture
def away(
    postgres: Server,
    own_database: Stack,
    cluster: Cluster,
    topic: Callable[..., str],
    namespace: str,
) -> Iterator[Bank]:
    """A bank whose database is on that server."""
    postgres.start()
    with fresh(own_database.postgres_url, namespace) as engine:
        yield Bank(cluster, topic("transfers", partitions=2), namespace, engine, seed=51)


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=2), namespace, engine, seed=52)


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace))


def moves(settings: Settings, bank: Bank) -> Running:
    step = Step(bank.source, None, transfer, False, "transfer", into=url(bank.engine))
    return Running(settings, [step])


def waits(line: Running) -> int:
    return sum(each.on == "database" for each in line.saw(Waiting))


# --- PostgreSQL ---------------------------------------------------------------------------------


def test_postgres_that_is_away_at_the_start_is_waited_for(
    settings: Settings, away: Bank, postgres: Server
) -> None:
    away.send(10)
    postgres.stop()
    with moves(settings, away) as line:
        line.until(waits, "a word about the database")
        assert "gives no connection: check that it runs" in str(line.saw(Aborted))
        postgres.start()
        away.await_settled()
    away.assert_exact()


@pytest.mark.parametrize("how", rows(["kill"], ["stop", "kill"]))
def test_postgres_that_goes_away_is_waited_for(
    settings: Settings, away: Bank, postgres: Server, how: str
) -> None:
    calm = replace(settings, kafka={"session.timeout.ms": 6000, "max.poll.interval.ms": 6000})
    away.send(10)
    with moves(calm, away) as line:
        away.await_settled()
        getattr(postgres, how)()
        away.send(10)
        line.until(lambda line: waits(line) >= 5, "more than a word about the database")
        postgres.start()
        away.await_settled()
    away.assert_exact()


@pytest.mark.parametrize(
    "where", rows(["before do_commit"], ["after UPDATE accounts", "before do_commit"])
)
def test_postgres_that_stands_still_in_a_transaction_is_waited_for_and_the_group_stays_calm(
    away: Bank,
    postgres: Server,
    tmp_path: Path,
    bootstrap_servers: str,
    redis_url: str,
    where: str,
) -> None:
    poll = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300, "max.poll.interval.ms": 1500}
    order = quick(bootstrap_servers, redis_url, away.group, kafka=poll)
    with Teller(order, away.source, "", tmp_path / "teller", into=url(away.engine)) as teller:
        away.send(10)
        teller.serve(where=where, action="stop")
        away.await_settled()
        teller.gate.touch()
        away.send(10)
        teller.await_note("fault")
        postgres.pause()
        teller.go_on()
        time.sleep(3)  # longer than a member may be silent: its thread waits for PostgreSQL
        postgres.resume()
        away.await_settled()
        teller.drain()
        assert len(teller.notes("Assigned")) == 1, teller.told()
    away.assert_exact()


# --- an older backup ----------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", rows(["sqlite"], ["postgresql", "sqlite"]))
def test_an_older_backup_is_refused_until_told_and_then_all_is_done_again_that_it_lacks(
    settings: Settings, bank: Bank, tmp_path: Path
) -> None:
    bank.send(10)
    with moves(settings, bank):
        bank.await_settled()
    backup = Backup(bank.engine, tmp_path / "backup")
    rows_then = bank.rows()
    bank.send(10)
    with moves(settings, bank):
        bank.await_settled()
        assert wait_until(lambda: follows(bank), seconds=SECONDS)
    backup.restore()
    assert bank.rows() == rows_then

    with moves(settings, bank) as line:
        error = line.failed()
    assert isinstance(error, FatalError)
    assert "older backup restored?" in str(error)
    assert bank.rows() == rows_then

    set_back(bank, rows_then)
    with moves(settings, bank):
        bank.await_settled()
    bank.assert_exact()


def follows(bank: Bank) -> bool:
    return bank.cluster.committed(bank.group, bank.source) == bank.rows()


def set_back(bank: Bank, offsets: dict[int, int]) -> None:
    """Set the group's offsets, as `kafka-consumer-groups.sh --reset-offsets` does."""
    conf = {"bootstrap.servers": bank.cluster.bootstrap_servers, "group.id": bank.group}
    with closing(Consumer(conf)) as consumer:
        moved = [TopicPartition(bank.source, each, at) for each, at in offsets.items()]
        consumer.commit(offsets=moved, asynchronous=False)


class Backup:
    """What a database held at one moment."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine, self._path = engine, path
        if engine.dialect.name == "sqlite":
            with closing(sqlite3.connect(path)) as copy, closing(self._sqlite()) as original:
                original.backup(copy)
        else:
            self._copy(f"{engine.url.database}_copy", str(engine.url.database))

    def restore(self) -> None:
        """Put it in the place of what is there now."""
        self._engine.dispose()
        if self._engine.dialect.name == "sqlite":
            for file in self._path.parent.glob(f"{Path(str(self._engine.url.database)).name}*"):
                file.unlink()
            shutil.copy(self._path, str(self._engine.url.database))
        else:
            name = str(self._engine.url.database)
            self._admin(f'DROP DATABASE "{name}" WITH (FORCE)')
            self._copy(name, f"{name}_copy")

    def _sqlite(self) -> sqlite3.Connection:
        return sqlite3.connect(str(self._engine.url.database))

    def _copy(self, new: str, old: str) -> None:
        self._engine.dispose()
        self._admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :old", old=old
        )
        self._admin(f'CREATE DATABASE "{new}" TEMPLATE "{old}"')

    def _admin(self, command: str, **names: str) -> None:
        admin = create_engine(self._engine.url.set(database="postgres"))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(text(command), names)
        admin.dispose()


# --- a disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_file_that_may_not_grow_is_waited_for(
    bank: Bank, tmp_path: Path, bootstrap_servers: str, redis_url: str
) -> None:
    order = quick(bootstrap_servers, redis_url, bank.group)
    with Teller(order, bank.source, "", tmp_path / "teller", into=url(bank.engine)) as teller:
        bank.send(100)
        teller.serve()
        bank.await_settled()
        # The database is the longest of its files, by far.
        size = Path(str(bank.engine.url.database)).stat().st_size
        assert size > 2 * teller.diary.stat().st_size
        resource.prlimit(teller.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        bank.send(300)
        teller.await_note("Waiting", 2)
        assert "cannot read or write its file" in teller.notes("Aborted")[-1]["detail"]
        bank.assert_whole()
        everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(teller.pid, resource.RLIMIT_FSIZE, everything)
        bank.await_settled()
        teller.drain()
    bank.assert_exact()
