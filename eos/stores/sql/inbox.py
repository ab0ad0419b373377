"""Frontiers as rows beside the effects, for handlers that write to a database.

Its keys, where the ledger is this database, and its audit are rows in the same transaction.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Update, create_engine, select, update
from sqlalchemy.dialects import postgresql, sqlite

from eos.core.errors import ConfigError
from eos.core.frontier import Frontier
from eos.core.record import Shard
from eos.stores.sql import tables
from eos.stores.sql.connections import attached, same_database
from eos.stores.sql.effects import SqlEffects, of_shard, patient
from eos.stores.sql.errors import translated
from eos.stores.sql.frontiers import open_shard
from eos.stores.sql.keys import forget
from eos.stores.sql.tables import frontiers, suppressed

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class SqlInbox:
    """Implements `eos.core.ports.Inbox` on PostgreSQL and SQLite.

    Args:
        into: An engine of SQLAlchemy, or the URL of one.
        ledger: The ledger's URL: where it names this same database, claims join transactions.

    Attributes:
        joins: Whether they do.

    Raises:
        ConfigError: It is neither, or of another kind of database.
    """

    def __init__(self, into: Any, ledger: str = "") -> None:
        engine = create_engine(into) if isinstance(into, str) else into
        if not isinstance(engine, Engine):
            raise ConfigError([f"into={into!r}: give an engine of SQLAlchemy, or its URL"])
        if engine.dialect.name not in _INSERT:
            raise ConfigError(
                [f"into: {engine.dialect.name} is not supported; use postgresql or sqlite"]
            )
        self._engine = engine
        self.joins = same_database(engine.url, ledger)

    def check(self) -> None:
        """See that the tables are there, and that there are transactions at all."""
        tables.check(self._engine)
        with translated(), self._engine.connect() as connection:
            attached(connection)

    def frontiers(self, shard: Shard, partitions: Collection[int]) -> dict[int, Frontier]:
        """Read rows, and wait for those who hold them."""
        rows = (
            select(frontiers.c.partition, frontiers.c.next_offset, frontiers.c.attempts)
            .where(*of_shard(frontiers, shard), frontiers.c.partition.in_(list(partitions)))
            .order_by(frontiers.c.partition)
            .with_for_update()
        )
        with translated(), _locking(self._engine) as connection:
            found = connection.execute(rows).all()
        return {partition: Frontier(offset, attempts) for partition, offset, attempts in found}

    def create(self, shard: Shard, topic: str, starts: Mapping[int, Frontier]) -> None:
        """Make rows that are not there yet."""
        rows = [
            {
                "namespace": shard.namespace,
                "consumer_group": shard.group,
                "topic_id": shard.topic_id,
                "partition": partition,
                "topic": topic,
                "next_offset": start.offset,
                "attempts": start.attempts,
            }
            for partition, start in starts.items()
        ]
        make = _INSERT[self._engine.dialect.name](frontiers).on_conflict_do_nothing()
        with translated(), _locking(self._engine) as connection:
            open_shard(connection, shard)
            connection.execute(make, rows)
            connection.commit()

    def suppressed(self, shard: Shard, partition: int, offsets: range) -> Collection[int]:
        """Give the offsets in this range that the audit has."""
        noted = select(suppressed.c.record_offset).where(
            *of_shard(suppressed, shard),
            suppressed.c.partition == partition,
            suppressed.c.record_offset >= offsets.start,
            suppressed.c.record_offset < offsets.stop,
        )
        with translated(), self._engine.connect() as connection:
            return set(connection.execute(noted).scalars())

    def advance(
        self, shard: Shard, frontier_times: Mapping[int, int], partitions: int, window: int
    ) -> bool:
        """Tell how far partitions have come in log time, and forget some keys of no window."""
        now = int(time.time())
        with translated(), _locking(self._engine) as connection:
            for partition, told in sorted(frontier_times.items()):
                connection.execute(_passed(shard, partition, min(told, now)))
            more = forget(connection, shard, partitions, window)
            connection.commit()
        return more

    def begin(self) -> SqlEffects:
        """Begin a transaction."""
        with translated():
            return SqlEffects(_begun(self._engine))


def _passed(shard: Shard, partition: int, seconds: int) -> Update:
    return (
        update(frontiers)
        .where(
            *of_shard(frontiers, shard),
            frontiers.c.partition == partition,
            frontiers.c.log_time < seconds,
        )
        .values(log_time=seconds)
    )


def _begun(engine: Engine) -> Connection:
    connection = engine.connect()
    try:
        if connection.dialect.name == "sqlite":
            # At once: a deferred one that writes after a read fails if somebody wrote meanwhile.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _locking(engine: Engine) -> Iterator[Connection]:
    with _begun(engine) as connection, patient(connection):
        yield connection
