"""Tells a relay that rows may have been added: a hint, beside which it looks from time to time."""

import time
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

CHANNEL = "eos_outbox_"
"""And the shard's number: who adds rows notifies it as he commits."""
_LOOK_SECONDS = 0.01


class Wake:
    """Waits for the next commit that adds rows.

    On PostgreSQL by LISTEN, with psycopg; by SQLite's count of commits, which costs microseconds.
    Any other driver waits for as long as it is told.

    Args:
        engine: The database.
        shard: Whose rows.
    """

    def __init__(self, engine: Engine, shard: int) -> None:
        self._engine = engine
        self._shard = shard
        self._db: Connection | None = None
        self._kind = engine.dialect.name
        self._seen: Any = None

    def wait(self, seconds: float) -> bool:
        """Wait, at most this long, and tell whether there was a commit. Never raises."""
        until = time.monotonic() + seconds
        try:
            if self._kind == "sqlite":
                return self._look(until)
            if self._engine.driver == "psycopg":
                return self._listen(until)
        except Exception:  # noqa: BLE001 drivers raise their own; a hint that fails is a wait
            self.close()
        time.sleep(max(0.0, until - time.monotonic()))
        return False

    def close(self) -> None:
        """Give the connection back."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(SQLAlchemyError):
                db.invalidate()  # nobody else shall have one that listens
                db.close()

    def _listen(self, until: float) -> bool:
        if self._db is None:
            self._db = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._db.exec_driver_sql(f"LISTEN {CHANNEL}{self._shard}")
            return True  # what was added before that told nobody
        driver: Any = self._db.connection.driver_connection
        left = max(0.0, until - time.monotonic())
        return any(True for _ in driver.notifies(timeout=left, stop_after=1))

    def _look(self, until: float) -> bool:
        db = self._db = self._db or self._engine.connect()
        while (now := _commits(db)) == self._seen and time.monotonic() < until:
            time.sleep(min(_LOOK_SECONDS, max(0.0, until - time.monotonic())))
        before, self._seen = self._seen, now
        return bool(now != before)


def _commits(db: Connection) -> Any:
    with db.begin():
        return db.exec_driver_sql("PRAGMA data_version").scalar()
