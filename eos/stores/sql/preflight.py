"""What a SQL database tells of itself."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, func, inspect, select, text

from eos.core.errors import ConfigError
from eos.core.ports.preflight import Database
from eos.stores.sql import tables
from eos.stores.sql.connections import engine_of
from eos.stores.sql.errors import translated
from eos.stores.sql.tables import frontiers

_SECONDS = 5
_USES = ("SELECT", "INSERT", "UPDATE", "DELETE")
_NO_FILE = ("", ":memory:")


class SqlPreflight:
    """Asks a database what it is; writes nothing, and makes no file.

    Args:
        database: A URL, or an engine of SQLAlchemy's.

    Raises:
        ConfigError: At once, if it is none that eos knows.
    """

    def __init__(self, database: Any) -> None:
        self._engine = engine_of(database)
        if self._engine is not database and self._engine.dialect.name == "postgresql":
            event.listen(self._engine, "do_connect", _patience)

    @property
    def shown(self) -> str:
        """Its address, without the password."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def is_new_file(self) -> bool:
        """Whether it is a file of SQLite's that is not there yet, in a folder that is.

        Raises:
            ConfigError: There is no such folder.
        """
        if self._engine.dialect.name != "sqlite":
            return False
        name = self._engine.url.database or ""
        if name in _NO_FILE or name.startswith("file:"):
            return False
        path = Path(name)
        if not path.parent.is_dir():
            raise ConfigError([f"{path}: there is no folder {str(path.parent)!r}: create it"])
        return not path.exists()

    def reach(self) -> None:
        """Connect, and ask something.

        Raises:
            RetriableError: It is away.
            FatalError: It refuses the login.
            ConfigError: What it says of itself cannot be read.
        """
        try:
            with translated(), self._engine.connect() as db:
                db.execute(text("SELECT 1"))
        except TypeError as error:  # the driver gives bytes for text then, and SQLAlchemy gives up
            told = "its encoding is SQL_ASCII: create the database anew with ENCODING 'UTF8'"
            raise ConfigError([told]) from error

    def tables(self) -> None:
        """Raise what is wrong with our tables.

        Raises:
            ConfigError: They are missing, or of another version; it names the command that helps.
        """
        tables.check(self._engine)

    def has_tables(self) -> bool:
        """Whether there are tables of ours at all."""
        with translated(), self._engine.connect() as db:
            return inspect(db).has_table(tables.schema.name)

    def server(self) -> Database:
        """Ask it about itself."""
        with translated(), self._engine.connect() as db:
            return _sqlite(db) if db.dialect.name == "sqlite" else _postgres(db)

    def frontiers(self, namespace: str, group: str) -> dict[tuple[str, str], int]:
        """Count a group's frontiers, by topic and topic id."""
        counted = (
            select(frontiers.c.topic, frontiers.c.topic_id, func.count())
            .where(frontiers.c.namespace == namespace, frontiers.c.consumer_group == group)
            .group_by(frontiers.c.topic, frontiers.c.topic_id)
        )
        with translated(), self._engine.connect() as db:
            return {(topic, id_): count for topic, id_, count in db.execute(counted)}


def _patience(_dialect: Any, _record: Any, _args: Any, settings: dict[str, Any]) -> None:
    settings.setdefault("connect_timeout", _SECONDS)


def _sqlite(db: Connection) -> Database:
    version = sqlite3.sqlite_version_info
    return Database(
        kind="sqlite",
        version=(version[0], version[1]),
        encoding=str(db.exec_driver_sql("PRAGMA encoding").scalar()),
        journal=str(db.exec_driver_sql("PRAGMA journal_mode").scalar()),
    )


def _postgres(db: Connection) -> Database:
    number = int(_shown(db, "server_version_num"))
    before = time.time()
    theirs = float(db.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    off_by = (time.time() - before) / 2
    return Database(
        kind="postgresql",
        version=(number // 10_000, number % 10_000),
        encoding=_shown(db, "server_encoding"),
        replica=bool(db.execute(text("SELECT pg_is_in_recovery()")).scalar()),
        forgetful=tuple(
            f"{name}=off" for name in ("fsync", "synchronous_commit") if _shown(db, name) == "off"
        ),
        forbidden=tuple(_forbidden(db)),
        ahead=theirs - before - off_by,
        off_by=off_by,
    )


def _shown(db: Connection, name: str) -> str:
    return str(db.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())


def _forbidden(db: Connection) -> list[str]:
    """Name what our user may not do with tables that are there."""
    asked = text(
        "SELECT c.relname, u.use FROM unnest(CAST(:tables AS text[])) AS t(name)"
        " JOIN pg_class c ON c.oid = to_regclass(t.name)"
        " CROSS JOIN unnest(CAST(:uses AS text[])) AS u(use)"
        " WHERE NOT has_table_privilege(c.oid, u.use) ORDER BY 1, 2"
    )
    given = {"tables": sorted(tables.metadata.tables), "uses": list(_USES)}
    return [f"{use} on {table}" for table, use in db.execute(asked, given)]
