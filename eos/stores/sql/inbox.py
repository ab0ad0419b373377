"""Frontiers as rows beside the effects, for handlers that write to a database."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from eos.core.errors import AbortableError, ConfigError, FatalError, RetriableError
from eos.core.frontier import Frontier
from eos.core.record import Shard
from eos.stores.sql import tables
from eos.stores.sql.errors import translate, translated
from eos.stores.sql.tables import frontiers

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_WHOLE = "eos_whole"
_PATIENCE_SECONDS = 1


class SqlInbox:
    """Implements `eos.core.ports.Inbox` on PostgreSQL and SQLite.

    Args:
        into: An engine of SQLAlchemy, or the URL of one.

    Raises:
        ConfigError: It is neither, or of another kind of database.
    """

    def __init__(self, into: Any) -> None:
        engine = create_engine(into) if isinstance(into, str) else into
        if not isinstance(engine, Engine):
            raise ConfigError([f"into={into!r}: give an engine of SQLAlchemy, or its URL"])
        if engine.dialect.name not in _INSERT:
            raise ConfigError(
                [f"into: {engine.dialect.name} is not supported; use postgresql or sqlite"]
            )
        self._engine = engine

    def check(self) -> None:
        """See that the tables are there."""
        tables.check(self._engine)

    def frontiers(self, shard: Shard, partitions: Collection[int]) -> dict[int, Frontier]:
        """Read rows, and wait for those who hold them."""
        rows = (
            select(frontiers.c.partition, frontiers.c.next_offset, frontiers.c.attempts)
            .where(*_of(shard), frontiers.c.partition.in_(list(partitions)))
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
            connection.execute(make, rows)
            connection.commit()

    def begin(self) -> "SqlEffects":
        """Begin a transaction."""
        with translated():
            return SqlEffects(_begun(self._engine))


class SqlEffects:
    """Implements `eos.core.ports.Effects`: one transaction on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.db = connection
        # What ends the transaction takes this with it: so it shows.
        connection.exec_driver_sql(f"SAVEPOINT {_WHOLE}")

    def lock(self, shard: Shard, partition: int, start: int) -> bool:
        """Hold a row until the end; on SQLite the whole database is held since the beginning.

        Nobody is waited for: who opened the partition has waited, and a zombie shall not.
        """
        row = select(frontiers.c.next_offset).where(*_of(shard), frontiers.c.partition == partition)
        with translated():
            return bool(self.db.execute(row.with_for_update(nowait=True)).scalar() == start)

    def advance(self, shard: Shard, partition: int, start: int, frontier: Frontier) -> bool:
        """Move a row on by compare-and-set."""
        move = (
            update(frontiers)
            .where(
                *_of(shard), frontiers.c.partition == partition, frontiers.c.next_offset == start
            )
            .values(next_offset=frontier.offset, attempts=frontier.attempts, updated_at=func.now())
        )
        with translated():
            return self.db.execute(move).rowcount == 1

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is done inside, if it raises."""
        with translated():
            point = self.db.begin_nested()
        try:
            yield
            with translated():
                point.commit()
        except Exception as error:
            _see_if_lost(error)
            with translated():
                point.rollback()
            raise

    def check(self) -> None:
        """See that the transaction is still the one that was begun."""
        try:
            self.db.exec_driver_sql(f"RELEASE SAVEPOINT {_WHOLE}")
        except SQLAlchemyError as error:
            _see_if_lost(error)
            raise FatalError(
                "the handler committed, or rolled back, the transaction that it was given: its "
                "effects would be settled without their frontier. Leave that to eos"
            ) from error

    def commit(self) -> None:
        """Commit, and give the connection back."""
        try:
            with translated():
                self.db.commit()
        finally:
            self._close()

    def rollback(self) -> None:
        """Roll back, and give the connection back."""
        self._close()

    def _close(self) -> None:
        with suppress(SQLAlchemyError):
            self.db.close()  # rolls back what is left


def _see_if_lost(error: Exception) -> None:
    """Raise, if the transaction cannot go on: because of another one, or of the server."""
    if isinstance(error, DBAPIError) and isinstance(found := translate(error), RetriableError):
        raise AbortableError(str(found), "database") from error


def _of(shard: Shard) -> tuple[Any, ...]:
    return (
        frontiers.c.namespace == shard.namespace,
        frontiers.c.consumer_group == shard.group,
        frontiers.c.topic_id == shard.topic_id,
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
    with _begun(engine) as connection:
        if connection.dialect.name == "postgresql":
            # Whoever holds the rows may be stopped; we have a group to stay in meanwhile.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE_SECONDS}s'")
        yield connection
