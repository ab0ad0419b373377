"""The outbox as its operator sees it: what waits, what is dead, and shards that must be told."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, func, insert, literal, select, update
from sqlalchemy import delete as delete_from

from eos.core.errors import AbortableError, ConfigError
from eos.core.outbox import Progress
from eos.core.ports import Backlog, DeadRow
from eos.stores.sql import tables
from eos.stores.sql.errors import translated
from eos.stores.sql.outbox import SqlOutbox, new_number, progress_of
from eos.stores.sql.outbox_tables import COLUMNS, dead, outbox, published, shards
from eos.stores.sql.outbox_wake import CHANNEL

_AT_ONCE = 500
_MESSAGE = ("id", *COLUMNS)


class SqlUpkeep:
    """Implements `eos.core.ports.Upkeep` on PostgreSQL and SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check(self) -> None:
        """See that the tables are there."""
        tables.check(self._engine)

    def backlog(self) -> Backlog:
        """Count what waits."""
        return SqlOutbox(self._engine).backlog()

    def namespace(self) -> str | None:
        """Give the namespace it is relayed under."""
        with translated(), self._engine.connect() as db:
            return db.execute(select(shards.c.namespace).limit(1)).scalar()

    def shards(self) -> dict[int, Progress]:
        """Give what the database knows of each shard."""
        known = (shards.c.version, shards.c.sent, shards.c.recorded, shards.c.batch)
        asked = select(shards.c.shard, *known).order_by(shards.c.shard)
        with translated(), self._engine.connect() as db:
            return {shard: progress_of(*row) for shard, *row in db.execute(asked)}

    def waiting(self, shard: int) -> int:
        """Count the rows of a shard that are to be published."""
        asked = select(func.count()).select_from(outbox).where(outbox.c.shard == shard)
        with translated(), self._engine.connect() as db:
            return int(db.execute(asked).scalar_one())

    def dead(self, limit: int) -> list[DeadRow]:
        """Give the dead rows that were added last."""
        asked = select(dead.c.id, dead.c.topic, dead.c.message_id, dead.c.reason)
        with translated(), self._engine.connect() as db:
            return [
                DeadRow(*row) for row in db.execute(asked.order_by(dead.c.id.desc()).limit(limit))
            ]

    def redrive(self, ids: Collection[int] | None) -> int:
        """Put dead rows back into the outbox."""
        with translated(), _transaction(self._engine) as db:
            # Whoever redrives at the same time is waited for, and leaves nothing to find.
            asked = select(dead.c.id).order_by(dead.c.id).with_for_update()
            found = list(db.execute(asked).scalars())
            chosen = found if ids is None else sorted(set(ids))
            if unknown := set(chosen) - set(found):
                named = ", ".join(map(str, sorted(unknown)))
                raise ConfigError([f"there is no dead row with id {named}: see eos_outbox_dead"])
            for start in range(0, len(chosen), _AT_ONCE):
                _put_back(db, chosen[start : start + _AT_ONCE])
            return len(chosen)

    def settle(self, shard: int, known: Progress, sent: int, *, published: bool) -> None:
        """Let a shard go on behind batch `sent`, with nothing recorded."""
        with translated(), _transaction(self._engine) as db:
            told = (
                update(shards)
                .where(shards.c.shard == shard, shards.c.version == known.version)
                .values(version=new_number(), sent=sent, recorded="", batch=0)
            )
            if db.execute(told).rowcount != 1:
                raise AbortableError(
                    f"outbox shard {shard} was changed meanwhile: a relay has it", "outbox_fenced"
                )
            if published:
                ids = list(known.recorded)
                for start in range(0, len(ids), _AT_ONCE):
                    _keep(db, ids[start : start + _AT_ONCE], known.sent + 1)


def _put_back(db: Connection, ids: list[int]) -> None:
    # At the old id, which no other row ever got: before those of its key that wait still.
    rows = select(*(dead.c[name] for name in _MESSAGE)).where(dead.c.id.in_(ids))
    db.execute(insert(outbox).from_select(_MESSAGE, rows.order_by(dead.c.id)))
    if db.dialect.name == "postgresql":
        touched = select(dead.c.shard).where(dead.c.id.in_(ids)).distinct()
        for shard in db.execute(touched).scalars().all():
            db.execute(select(func.pg_notify(f"{CHANNEL}{shard}", "")))
    db.execute(delete_from(dead).where(dead.c.id.in_(ids)))


def _keep(db: Connection, ids: list[int], batch: int) -> None:
    """Move rows to those that are published; a relay forgets them after a while."""
    of_row = (outbox.c[name] for name in _MESSAGE)
    now = int(time.time() * 1000)
    rows = select(*of_row, literal(batch), literal(now)).where(outbox.c.id.in_(ids))
    db.execute(insert(published).from_select((*_MESSAGE, "batch", "published_ms"), rows))
    db.execute(delete_from(outbox).where(outbox.c.id.in_(ids)))


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as db:
        if db.dialect.name == "sqlite":
            db.exec_driver_sql("BEGIN IMMEDIATE")
        yield db
        db.commit()
