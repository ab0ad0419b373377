"""Which database answers: connections of the ledger's own, and the identity that seals name."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DisconnectionError

from eos.core.errors import ConfigError
from eos.stores.sql import tables
from eos.stores.sql.connections import engine_of

BUSY_SECONDS = 10
_MEMORY = ("", ":memory:")

POSTGRES_IDENTITY = text(
    "concat_ws('.', (SELECT system_identifier FROM pg_control_system()),"
    " CASE WHEN pg_is_in_recovery() THEN 'replica'"
    " ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,"
    " (SELECT oid FROM pg_database WHERE datname = current_database()),"
    " pg_relation_filenode('eos_ledger_shards'))"
)
"""Cluster, time line, database, and the file of the table itself.

A restore to a point in time and a promotion begin a new time line; a dump is loaded into new
files. An ordinary restart changes none of them, for it loses nothing.
"""


class Server:
    """A database, reached by connections of the ledger's own.

    Args:
        url: As SQLAlchemy reads it: `sqlite:///file` or `postgresql://…`.

    Raises:
        ConfigError: The URL cannot be read, or names a database that no other process sees.
    """

    def __init__(self, url: str) -> None:
        self.engine = engine_of(url)
        self._file = self.engine.url.database or ""
        self._seen = 0
        if self.engine.dialect.name == "sqlite":
            if self._file in _MEMORY:
                raise ConfigError(["ledger: SQLite needs a file: write sqlite:///ledger.db"])
            _watch(self.engine, self._file)
        else:
            event.listen(self.engine, "do_connect", _patience)

    def prepare(self) -> None:
        """See that the tables are there. A SQLite file gets what it lacks, PostgreSQL nothing.

        Raises:
            ConfigError: They are missing, or of another version; the message says what to do.
        """
        if self.engine.dialect.name != "sqlite":
            if not self._seen:
                tables.check(self.engine)
                self._seen = 1
        elif self._seen != inode(self._file) or not self._seen:
            tables.create(self.engine)
            self._seen = inode(self._file)


def sqlite_identity(connection: Connection) -> str:
    """Tell which file answers: one that was put in its place is another."""
    path = connection.info.get("eos_file")
    if path is None:
        listed = connection.exec_driver_sql("PRAGMA database_list").all()
        path = connection.info["eos_file"] = next(row[2] for row in listed if row[1] == "main")
    return str(inode(path))


def inode(path: str) -> int:
    """Give the number of a file; 0 if there is none."""
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return 0


def _watch(engine: Engine, path: str) -> None:
    """Let connections be durable, and none outlive the file that they opened."""

    def connected(connection: Any, record: Any) -> None:
        record.info["eos_inode"] = inode(path)
        for pragma in (
            f"busy_timeout = {BUSY_SECONDS * 1000}",
            "journal_mode = WAL",
            "synchronous = FULL",
            # Digests fall all over the tree: 64 MiB of it in memory, and pages that many batches
            # touch go from the log into the file once. (Defaults: 2 MB, 1000 pages.)
            "cache_size = -65536",
            "wal_autocheckpoint = 10000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def taken_out(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["eos_inode"] != inode(path):
            raise DisconnectionError

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken_out)


def _patience(_dialect: Any, _record: Any, _args: Any, settings: dict[str, Any]) -> None:
    """Wait for nobody without end: the line keeps polling while it waits."""
    settings.setdefault("connect_timeout", BUSY_SECONDS)
    settings.setdefault("tcp_user_timeout", BUSY_SECONDS * 1000)
    settings.setdefault("options", f"-c lock_timeout={BUSY_SECONDS}s")
