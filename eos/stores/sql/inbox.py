"""Frontiers as rows beside the effects, for handlers that write to a database.

Its keys, where the ledger is this database, and its audit are rows in the same transaction.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Update,
    and_,
    create_engine,
    exists,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from eos.core.errors import ConfigError
from eos.core.frontier import Frontier
from eos.core.ports import MENDED, Assertion, Audited, Suppressed
from eos.core.record import Shard
from eos.core.rules import Owner, Verdict
from eos.stores.sql import tables
from eos.stores.sql.connections import attached, same_database
from eos.stores.sql.effects import SqlEffects, of_shard, patient
from eos.stores.sql.errors import translated
from eos.stores.sql.frontiers import open_shard
from eos.stores.sql.keys import forget, note, own, owners
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

    def audited(
        self, shard: Shard, partition: int, offsets: range, replayed: range = range(0)
    ) -> Audited:
        """Give which positions in this range own no key, as the audit says."""
        noted = select(suppressed).where(
            *of_shard(suppressed, shard),
            suppressed.c.partition == partition,
            suppressed.c.record_offset.between(offsets.start, offsets.stop - 1)
            | (suppressed.c.verdict == Verdict.SETTLED.value),
        )
        with translated(), self._engine.connect() as connection:
            found = Audited(replayed=replayed)
            for row in connection.execute(noted.order_by(suppressed.c.id)):
                found.add(_suppressed(row))
            return found

    def note(self, shard: Shard, gap: Suppressed) -> None:
        """Write down that nothing is delivered any more somewhere."""
        with translated(), _locking(self._engine) as connection:
            note(connection, shard, [gap])
            connection.commit()

    def unmended(self, shard: Shard, partition: int) -> list[tuple[range, str]]:
        """Give the gaps that were noted and not yet noted as mended, and their causes."""
        noted = select(suppressed).where(
            *of_shard(suppressed, shard),
            suppressed.c.partition == partition,
            suppressed.c.verdict == Verdict.SETTLED.value,
        )
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(noted.order_by(suppressed.c.id)).all()
        gaps = {range(row.record_offset, row.owner_offset): row.source for row in rows}
        return [(gap, cause) for gap, cause in gaps.items() if cause != MENDED]

    def copies(self, shard: Shard) -> list[Suppressed]:
        """Give what was suppressed in favour of owners in gaps, and was not redriven."""
        gaps = suppressed.alias("gaps")
        void = and_(
            gaps.c.namespace == shard.namespace,
            gaps.c.consumer_group == shard.group,
            gaps.c.topic_id == shard.topic_id,
            gaps.c.verdict == Verdict.SETTLED.value,
            gaps.c.partition == suppressed.c.owner_partition,
            gaps.c.record_offset <= suppressed.c.owner_offset,
            gaps.c.owner_offset > suppressed.c.owner_offset,
        )
        redriven = select(suppressed.c.partition, suppressed.c.record_offset).where(
            *of_shard(suppressed, shard), suppressed.c.verdict == Verdict.FRESH.value
        )
        noted = select(suppressed).where(
            *of_shard(suppressed, shard),
            suppressed.c.verdict == Verdict.DUPLICATE.value,
            exists().where(void),
            tuple_(suppressed.c.partition, suppressed.c.record_offset).not_in(redriven),
        )
        with translated(), self._engine.connect() as connection:
            return [_suppressed(row) for row in connection.execute(noted)]

    def owners(self, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
        """Tell who owns keys."""
        with translated(), self._engine.connect() as connection:
            return owners(connection, shard, digests)

    def own(self, shard: Shard, assertion: Assertion) -> None:
        """Make positions the owners of keys that nobody owns."""
        records = zip(assertion.offsets, assertion.digests, assertion.fingerprints, strict=True)
        # As of now: what is handled again is forgotten a window after that.
        now = int(time.time())
        new = {
            digest: (Owner(assertion.partition, offset, fingerprint), now)
            for offset, digest, fingerprint in records
            if offset not in assertion.audited
        }
        with translated(), _locking(self._engine) as connection:
            own(connection, shard, new)
            connection.commit()

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


def _suppressed(row: Any) -> Suppressed:
    owner = Owner(row.owner_partition, row.owner_offset, 0)
    told = (Verdict(row.verdict), row.log_time, row.source)
    return Suppressed(row.partition, row.record_offset, bytes(row.digest), owner, *told)


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
