"""Somebody's own connection, whichever library it is of: found by what it looks like.

Statements are SQLAlchemy's throughout; for a plain DB-API connection they are rendered once, in
its dialect and with its kind of parameters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, Executable, create_engine, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from eos.core.errors import ConfigError
from eos.stores.sql.errors import translated

DIALECTS = ("postgresql", "sqlite")
_SQLITE: Dialect = sqlite.dialect(paramstyle="named")
_POSTGRES: Dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
_DJANGO_SQLITE: Dialect = sqlite.dialect(paramstyle="pyformat")
_THIS_MACHINE = (None, "", "127.0.0.1", "::1")
_POSTGRES_PORT = 5432
_IDLE = 0  # libpq's PQTRANS_IDLE, the same number in psycopg and psycopg2
# The dialect of a plain DB-API connection, by the package that its class is from.
_DIALECT_OF: Mapping[str, Dialect] = {
    "sqlite3": _SQLITE,
    "psycopg": _POSTGRES,
    "psycopg2": _POSTGRES,
    "aiosqlite": _SQLITE,  # as SQLAlchemy's driver only
}
# What the user has chosen to get for a row may be anything: we want tuples.
_TUPLES: Mapping[str, Any] = {"sqlite3": None, "psycopg": lambda _: tuple}
# A driver that can only be awaited, and the one that reaches the same database without.
_BLOCKING = {"asyncpg": "postgresql+psycopg", "aiosqlite": "sqlite"}

_AWAIT = (
    "this connection is asynchronous: await inbox.settle_async(…) or outbox.add_async(…), with a "
    "connection or session of SQLAlchemy's"
)
_NO_TRANSACTION = (
    "the connection is in autocommit mode, with no transaction open: what eos writes and what you "
    "write must commit together. Begin a transaction first: {how}"
)
_HOW = {
    "sqlite3": 'db.execute("BEGIN IMMEDIATE"), or connect without isolation_level=None',
    "psycopg": "with db.transaction(): …, or connect without autocommit=True",
    "psycopg2": "set db.autocommit = False",
    "django": "with transaction.atomic(): …",
    "sqlalchemy": 'an engine whose isolation level is not "AUTOCOMMIT"',
}


class Answer(NamedTuple):
    """What a statement did.

    Attributes:
        changed: How many rows an UPDATE or DELETE changed.
        rows: What a SELECT, or RETURNING, gave.
    """

    changed: int
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Attached:
    """A transaction of somebody else's, ready for our statements.

    Attributes:
        dialect: `postgresql` or `sqlite`.
        run: Executes a statement with its parameters.
    """

    dialect: str
    run: Callable[[Executable, Mapping[str, Any]], Answer]


def engine_of(database: Any) -> Engine:
    """Give an engine for a URL, or one that needs no `await` in place of one that does.

    Args:
        database: A URL, or an `Engine` or `AsyncEngine` of SQLAlchemy's.

    Raises:
        ConfigError: The URL is none, or of a database that we do not know.
    """
    if isinstance(database, Engine):
        return database
    # Not by its class: to import that takes greenlet, which SQLAlchemy does not bring by itself.
    if hasattr(database, "sync_engine"):
        url = database.url
        blocking = _BLOCKING.get(url.get_driver_name())
        return create_engine(url.set(drivername=blocking) if blocking else url, poolclass=NullPool)
    try:
        url = make_url(database)
        if url.drivername in {"postgresql", "postgres"}:
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() in DIALECTS:
            return create_engine(url)
    except (ArgumentError, NoSuchModuleError):
        pass
    except ImportError as error:
        raise ConfigError(
            ["PostgreSQL needs psycopg: pip install 'eos-delivery[postgresql]'"]
        ) from error
    shown = str(database).rpartition("@")[2]  # without the password
    advice = "write postgresql://user:password@host:port/name or sqlite:///file"
    raise ConfigError([f"{shown!r} is no database that eos knows: {advice}"])


def same_database(url: URL, other: str) -> bool:
    """Tell whether another URL names the same database; where in doubt, not."""
    try:
        found = make_url(other)
    except ArgumentError:
        return False
    return _place(url) == _place(found)


def _place(url: URL) -> tuple[Any, ...]:
    kind, name = url.get_backend_name(), url.database
    if kind == "sqlite":
        return (kind, Path(name).resolve()) if name and name != ":memory:" else (kind, object())
    host = "localhost" if url.host in _THIS_MACHINE else url.host
    return kind, host, url.port or _POSTGRES_PORT, name or url.username


def attached(db: Any) -> Attached:
    """Find out what a connection is, and that it is in a transaction.

    Args:
        db: A SQLAlchemy Core connection or ORM session; Django's `connection`; a connection or
            cursor of psycopg, psycopg2 or sqlite3, or what a pool has wrapped around one.

    Raises:
        ConfigError: It is something else, or every statement would commit by itself.
    """
    if isinstance(db, Connection):
        return _core(db)
    if hasattr(db, "sync_connection") or hasattr(db, "sync_session"):
        raise ConfigError([_AWAIT])
    if hasattr(db, "get_bind") and hasattr(db, "connection"):
        return _core(db.connection())
    if package := _package(db):
        return _of_driver(db, package)
    for wrapped in ("driver_connection", "db"):  # of SQLAlchemy's pool; of Django's cursor
        if hasattr(db, wrapped):
            return attached(getattr(db, wrapped))
    if hasattr(db, "in_atomic_block"):
        return _django(db)
    kind = f"{type(db).__module__}.{type(db).__qualname__}"
    advice = "give one of SQLAlchemy, Django, psycopg, psycopg2 or sqlite3"
    raise ConfigError([f"{kind} is no connection that eos knows: {advice}"])


def _core(connection: Connection) -> Attached:
    name = connection.dialect.name
    if name not in DIALECTS:
        raise ConfigError([f"a database of {name} is not supported: use PostgreSQL or SQLite"])
    if not connection.in_transaction():
        connection.begin()  # as its first statement would; who reads it commits or rolls back
    fairy = connection.connection
    driver = _package(fairy.driver_connection)
    _check(
        "sqlalchemy",
        is_open=_is_open(driver, fairy.driver_connection)
        if driver
        else not getattr(fairy.dbapi_connection, "autocommit", False),
    )

    def run(statement: Executable, values: Mapping[str, Any]) -> Answer:
        with translated():
            result = connection.execute(statement, values)
            rows = [tuple(row) for row in result] if result.returns_rows else []
            return Answer(result.rowcount, rows)

    return Attached(name, run)


def _of_driver(db: Any, package: str) -> Attached:
    if package == "aiosqlite" or type(db).__name__.startswith("Async"):
        raise ConfigError([_AWAIT])
    if not hasattr(db, "cursor"):
        return attached(db.connection)  # it is a cursor
    _check(package, is_open=_is_open(package, db))
    return _plain(db, _DIALECT_OF[package])


def _django(connection: Any) -> Attached:
    dialects = {"postgresql": _POSTGRES, "sqlite": _DJANGO_SQLITE}
    if connection.vendor not in dialects:
        raise ConfigError(
            [f"a database of {connection.vendor} is not supported: use PostgreSQL or SQLite"]
        )
    _check("django", is_open=connection.in_atomic_block or not connection.get_autocommit())
    return _plain(connection, dialects[connection.vendor])


def _plain(connection: Any, dialect: Dialect) -> Attached:
    def run(statement: Executable, values: Mapping[str, Any]) -> Answer:
        text, fixed = _rendered(statement, dialect)
        with translated():
            cursor = connection.cursor()
            try:
                if (package := _package(cursor)) in _TUPLES:
                    cursor.row_factory = _TUPLES[package]
                cursor.execute(text, {**fixed, **values})
                rows = [_values(row) for row in cursor.fetchall()] if cursor.description else []
                return Answer(cursor.rowcount, rows)
            finally:
                cursor.close()

    return Attached(dialect.name, run)


def _values(row: Any) -> tuple[Any, ...]:
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


@lru_cache(maxsize=100)
def _rendered(statement: Any, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    compiled = statement.compile(dialect=dialect)
    return str(compiled), dict(compiled.params or {})


def _package(db: Any) -> str:
    """Name the package whose connection or cursor this is, or is derived from."""
    bases = (base.__module__.partition(".")[0] for base in type(db).__mro__)
    return next((base for base in bases if base in _DIALECT_OF), "")


def _is_open(package: str, connection: Any) -> bool:
    """Say whether what is executed next belongs to a transaction."""
    if package in {"sqlite3", "aiosqlite"}:
        if connection.in_transaction:
            return True
        # `autocommit` came with Python 3.12; True there overrules the older setting.
        by_itself = getattr(connection, "autocommit", None) is True
        return connection.isolation_level is not None and not by_itself
    return not connection.autocommit or connection.info.transaction_status != _IDLE


def _check(package: str, *, is_open: bool) -> None:
    if not is_open:
        raise ConfigError([_NO_TRANSACTION.format(how=_HOW[package])])
