"""The outbox as its relay sees it: rows become batches, batches are marked.

Rows are read in the order of their ids, whatever transactions are still open: one that commits
late finds its rows in a later batch. So no gap in the ids is waited for, and none loses a row. Two
transactions that write for one key, one after the other, have ids in that order, because the second
one's came after the first one's commit.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, text

from eos.core.errors import AbortableError, ConfigError
from eos.core.outbox import SHARDS, Progress, Row
from eos.core.ports import Backlog
from eos.stores.sql import tables
from eos.stores.sql.errors import translated
from eos.stores.sql.outbox_headers import load
from eos.stores.sql.outbox_tables import COLUMNS
from eos.stores.sql.outbox_wake import Wake

FORGOTTEN_AT_ONCE = 5_000
_DUE_AT_ONCE = 1_000
_BITS = 62  # as a signed column has them

_ALL = ", ".join(COLUMNS)
_ROW = "id, topic, record_key, value, headers, added_ms"

# Which rows a list of ids names: numbers travel as one text, as each database reads it best.
_IDS = {
    "postgresql": "= ANY(CAST(:ids AS bigint[]))",
    "sqlite": "IN (SELECT value FROM json_each(:ids))",
}
_BRACES = {"postgresql": "{%s}", "sqlite": "[%s]"}

_TAKE = text(
    "INSERT INTO eos_outbox_shards (shard, namespace, version, sent, recorded, batch)"
    " VALUES (:shard, :namespace, 0, 0, '', 0) ON CONFLICT DO NOTHING"
)
_TAKEN = text("SELECT DISTINCT namespace FROM eos_outbox_shards")
_PROGRESS = "SELECT version, sent, recorded, batch{} FROM eos_outbox_shards WHERE shard = :shard"
_LOCKED = {
    # Whoever is stopped in here shall not hold the shard up: the server ends his transaction.
    "postgresql": text(
        _PROGRESS.format(", set_config('idle_in_transaction_session_timeout', '5s', true)")
        + " FOR UPDATE"
    ),
    # A transaction of ours holds the whole database from its beginning.
    "sqlite": text(_PROGRESS.format("")),
}
_KNOW = text(
    "UPDATE eos_outbox_shards SET version = :version, sent = :sent, recorded = :recorded,"
    " batch = :batch"
    " WHERE shard = :shard"
)
# The comparison of pairs, and the order by both, fit the index of shard and id alone. By the order
# of `id` alone the planner might choose the primary key, and pass over all rows of other shards.
_NEXT = text(
    f"SELECT {_ROW} FROM eos_outbox"
    " WHERE (shard, id) >= (:shard, 0) AND (shard, id) < (:shard + 1, 0)"
    " ORDER BY shard, id LIMIT :limit"
)
_FIRST_DUE = text("SELECT min(deliver_ms) FROM eos_outbox_scheduled WHERE shard = :shard")
_DUE = text(
    "SELECT id FROM eos_outbox_scheduled WHERE shard = :shard AND deliver_ms <= :now"
    " ORDER BY deliver_ms LIMIT :limit"
)
_BACKLOG = text(
    "SELECT (SELECT count(*) FROM eos_outbox), (SELECT min(added_ms) FROM eos_outbox),"
    " (SELECT count(*) FROM eos_outbox_scheduled), (SELECT count(*) FROM eos_outbox_dead)"
)
_FORGET = text(
    "DELETE FROM eos_outbox_published WHERE id IN (SELECT id FROM eos_outbox_published"
    " WHERE shard = :shard AND published_ms < :before ORDER BY published_ms LIMIT :limit)"
)


def _by_ids(statement: str) -> dict[str, TextClause]:
    return {name: text(statement.replace(":ids", ids)) for name, ids in _IDS.items()}


_ROWS = _by_ids(f"SELECT {_ROW} FROM eos_outbox WHERE id :ids ORDER BY id")
_DELETE = _by_ids("DELETE FROM eos_outbox WHERE id :ids")
_KEEP = _by_ids(
    f"INSERT INTO eos_outbox_published (id, {_ALL}, batch, published_ms)"
    f" SELECT id, {_ALL}, :batch, :now FROM eos_outbox WHERE id :ids"
)
_LET_GO = _by_ids(
    f"INSERT INTO eos_outbox ({_ALL}) SELECT {_ALL} FROM eos_outbox_scheduled WHERE id :ids"
    " ORDER BY deliver_ms, id"
)
_UNSCHEDULE = _by_ids("DELETE FROM eos_outbox_scheduled WHERE id :ids")
_BURY = _by_ids(
    f"INSERT INTO eos_outbox_dead (id, {_ALL}, reason, died_ms)"
    f" SELECT id, {_ALL}, :reason, :now FROM eos_outbox WHERE id :ids"
)


class SqlOutbox:
    """Implements `eos.core.ports.Outbox` on PostgreSQL and SQLite.

    Args:
        engine: The database.
        keep: For how long published rows are kept, in seconds; 0: they are deleted at once.
    """

    def __init__(self, engine: Engine, keep: float = 0.0) -> None:
        self._engine = engine
        self._keep = keep

    def check(self) -> None:
        """See that the tables are there."""
        tables.check(self._engine)

    def take(self, namespace: str) -> None:
        """Have the outbox relayed under this namespace."""
        rows = [{"shard": shard, "namespace": namespace} for shard in range(SHARDS)]
        with translated(), _transaction(self._engine) as db:
            db.execute(_TAKE, rows)
            others = set(db.execute(_TAKEN).scalars()) - {namespace}
        if others:
            fault = (
                f"namespace={namespace!r}: this outbox is relayed under {others.pop()!r}, and two "
                "relays with namespaces of their own would publish every row twice"
            )
            raise ConfigError([fault])

    def shard(self, number: int) -> "SqlRows":
        """Give a shard."""
        return SqlRows(self._engine, number, self._keep)

    def backlog(self) -> Backlog:
        """Count what waits."""
        with translated(), self._engine.connect() as db:
            rows, oldest, scheduled, dead = db.execute(_BACKLOG).one()
        age = max(0.0, time.time() - oldest / 1000) if oldest is not None else 0.0
        return Backlog(rows, age, scheduled, dead)


class SqlRows:
    """Implements `eos.core.ports.Rows`."""

    def __init__(self, engine: Engine, shard: int, keep: float) -> None:
        self._engine = engine
        self._kind = engine.dialect.name
        self._shard = shard
        self._keep = keep
        self._wake = Wake(engine, shard)
        self._due_ms: int | None = 0  # when the first of the scheduled rows is due

    def progress(self) -> Progress:
        """Read what the database knows."""
        with translated(), self._engine.connect() as db:
            return _read(db.execute(text(_PROGRESS.format("")), {"shard": self._shard}))

    def rows(self, ids: Sequence[int]) -> list[Row]:
        """Read rows, in the order of their ids."""
        with translated(), self._engine.connect() as db:
            return self._rows(db, ids)

    def record(
        self, known: Progress, limit: int, *, published: bool
    ) -> tuple[Progress, Sequence[Row]]:
        """Mark the recorded batch as published, if it is, and record the next one."""
        if known.recorded and not published:
            return known, self.rows(known.recorded)
        if not known.recorded and not self._has_work():
            return known, ()
        with translated(), self._changing(known) as db:
            if known.recorded:
                self._mark(db, known)
            self._let_go(db)
            found = db.execute(_NEXT, {"shard": self._shard, "limit": limit}).all()
            rows = [_row(*each) for each in found]
            return self._know(db, known, bool(known.recorded), [row.id for row in rows]), rows

    def narrow(self, known: Progress, ids: Sequence[int]) -> Progress:
        """Leave only some rows in the recorded batch."""
        with translated(), self._changing(known) as db:
            return self._know(db, known, False, ids)

    def bury(self, known: Progress, reasons: Mapping[int, str]) -> Progress:
        """Put rows of the recorded batch aside."""
        with translated(), self._changing(known) as db:
            for row, reason in reasons.items():
                told = {"ids": self._list([row]), "reason": reason, "now": _now_ms()}
                db.execute(_BURY[self._kind], told)
            self._delete(db, list(reasons))
            left = [row for row in known.recorded if row not in reasons]
            return self._know(db, known, False, left)

    def wait(self, seconds: float) -> bool:
        """Wait until a row may have been added, or is due."""
        if self._due_ms:
            seconds = min(seconds, max(0.0, (self._due_ms - _now_ms()) / 1000))
        return self._wake.wait(seconds) or bool(self._due_ms and self._due_ms <= _now_ms())

    def forget(self) -> bool:
        """Delete some published rows that were kept for long enough."""
        bounds = {
            "shard": self._shard,
            "before": _now_ms() - int(self._keep * 1000),
            "limit": FORGOTTEN_AT_ONCE,
        }
        with translated(), _transaction(self._engine) as db:
            return bool(db.execute(_FORGET, bounds).rowcount == FORGOTTEN_AT_ONCE)

    def close(self) -> None:
        """Give connections back."""
        self._wake.close()

    def _has_work(self) -> bool:
        """Look before anything is locked or written: mostly there is none."""
        with translated(), self._engine.connect() as db:
            if self._due_ms is not None and self._due_ms <= _now_ms():
                return True
            self._due_ms = db.execute(_FIRST_DUE, {"shard": self._shard}).scalar()
            found = db.execute(_NEXT, {"shard": self._shard, "limit": 1}).first()
        return found is not None or (self._due_ms is not None and self._due_ms <= _now_ms())

    @contextmanager
    def _changing(self, known: Progress) -> Iterator[Connection]:
        """Give a transaction that others wait for, if they know the shard as we do."""
        with _transaction(self._engine) as db:
            found = _read(db.execute(_LOCKED[self._kind], {"shard": self._shard}))
            if found.version != known.version:
                raise AbortableError(
                    f"outbox shard {self._shard} was changed meanwhile: another relay has it",
                    "outbox_fenced",
                )
            yield db

    def _know(
        self, db: Connection, known: Progress, published: bool, recorded: Sequence[int]
    ) -> Progress:
        same = not published and tuple(recorded) == tuple(known.recorded)
        batch = known.batch if same else new_number()
        now = Progress(new_number(), known.sent + published, tuple(recorded), batch)
        told = {
            "shard": self._shard,
            "version": now.version,
            "sent": now.sent,
            "recorded": ",".join(map(str, recorded)),
            "batch": batch,
        }
        db.execute(_KNOW, told)
        return now

    def _mark(self, db: Connection, known: Progress) -> None:
        if self._keep:
            told = {
                "ids": self._list(known.recorded),
                "batch": known.sent + 1,
                "now": _now_ms(),
            }
            db.execute(_KEEP[self._kind], told)
        self._delete(db, known.recorded)

    def _let_go(self, db: Connection) -> None:
        """Let scheduled rows be published whose time has come."""
        now = _now_ms()
        if self._due_ms is None or self._due_ms > now:
            return
        bounds = {"shard": self._shard, "now": now, "limit": _DUE_AT_ONCE}
        if due := db.execute(_DUE, bounds).scalars().all():
            ids = {"ids": self._list(due)}
            db.execute(_LET_GO[self._kind], ids)
            db.execute(_UNSCHEDULE[self._kind], ids)
        self._due_ms = db.execute(_FIRST_DUE, {"shard": self._shard}).scalar()

    def _rows(self, db: Connection, ids: Sequence[int]) -> list[Row]:
        found = db.execute(_ROWS[self._kind], {"ids": self._list(ids)}).all()
        return [_row(*each) for each in found]

    def _delete(self, db: Connection, ids: Sequence[int]) -> None:
        db.execute(_DELETE[self._kind], {"ids": self._list(ids)})

    def _list(self, ids: Sequence[int]) -> str:
        return _BRACES[self._kind] % ",".join(map(str, ids))


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as db:
        if db.dialect.name == "sqlite":
            # At once: a deferred one that writes after a read fails if somebody wrote meanwhile.
            db.exec_driver_sql("BEGIN IMMEDIATE")
        yield db
        db.commit()


def _read(result: Any) -> Progress:
    return progress_of(*result.one()[:4])


def progress_of(version: int, sent: int, recorded: str, batch: int) -> Progress:
    """Read a row of `eos_outbox_shards`."""
    ids = tuple(map(int, recorded.split(","))) if recorded else ()
    return Progress(version, sent, ids, batch)


def _row(number: int, topic: str, key: Any, value: Any, headers: str, added_ms: int) -> Row:
    return Row(number, topic, _bytes(key), _bytes(value), load(headers), added_ms / 1000)


def _bytes(found: Any) -> bytes | None:
    return None if found is None else bytes(found)


def new_number() -> int:
    """Make a number that no copy of the database makes, too."""
    return secrets.randbits(_BITS)


def _now_ms() -> int:
    return int(time.time() * 1000)
