"""The kinds of database connections that an inbox settles through, one way to use them all."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import django  # type: ignore[import-untyped]
import psycopg
import psycopg2.extras  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.db import connections  # type: ignore[import-untyped]
from psycopg.rows import class_row, dict_row, scalar_row
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

EFFECT = "INSERT INTO effects (record) VALUES (7)"


@dataclass
class Opened:
    """A transaction of the test's own.

    Attributes:
        db: What `settle` is given.
        execute: Runs a statement in the same transaction.
        commit: Ends it.
        rollback: Ends it.
    """

    db: Any
    execute: Callable[[str], object]
    commit: Callable[[], object]
    rollback: Callable[[], object]


@contextmanager
def core(engine: Engine) -> Iterator[Opened]:
    with engine.connect() as db:
        yield Opened(db, lambda sql: db.execute(text(sql)), db.commit, db.rollback)


@contextmanager
def orm(engine: Engine) -> Iterator[Opened]:
    with Session(engine) as db:
        yield Opened(db, lambda sql: db.execute(text(sql)), db.commit, db.rollback)


@contextmanager
def pooled(engine: Engine) -> Iterator[Opened]:
    db = engine.raw_connection()
    yield Opened(db, lambda sql: db.cursor().execute(sql), db.commit, db.rollback)
    db.close()


@contextmanager
def raw(connection: Any, db: Any) -> Iterator[Opened]:
    def execute(sql: str) -> None:
        connection.cursor().execute(sql)

    yield Opened(db, execute, connection.commit, connection.rollback)
    connection.close()


def psycopg_plain(engine: Engine) -> Any:
    connection = psycopg.connect(address(engine))
    return raw(connection, connection)


def psycopg_cursor(engine: Engine) -> Any:
    connection = psycopg.connect(address(engine))
    return raw(connection, connection.cursor())


def psycopg_in_autocommit(engine: Engine) -> Any:
    connection = psycopg.connect(address(engine), autocommit=True)
    connection.execute("BEGIN")
    return raw(connection, connection)


def psycopg_rows(factory: Any) -> Callable[[Engine], Any]:
    def connect(engine: Engine) -> Any:
        connection = psycopg.connect(address(engine), row_factory=factory)
        return raw(connection, connection)

    return connect


def psycopg2_plain(engine: Engine) -> Any:
    connection = psycopg2.connect(address(engine))
    return raw(connection, connection)


def psycopg2_cursor(engine: Engine) -> Any:
    connection = psycopg2.connect(address(engine), cursor_factory=psycopg2.extras.RealDictCursor)
    return raw(connection, connection.cursor())


def sqlite_plain(engine: Engine) -> Any:
    connection = sqlite3.connect(str(engine.url.database))
    return raw(connection, connection)


def sqlite_cursor(engine: Engine) -> Any:
    connection = sqlite3.connect(str(engine.url.database))
    connection.row_factory = lambda _, row: {"row": row}
    return raw(connection, connection.cursor())


def sqlite_in_autocommit(engine: Engine) -> Any:
    connection = sqlite3.connect(str(engine.url.database), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return raw(connection, connection)


def of_django(engine: Engine) -> Any:
    if not settings.configured:
        settings.configure(DATABASES={}, USE_TZ=True)
        django.setup()
    url = engine.url
    kind = "postgresql" if url.get_backend_name() == "postgresql" else "sqlite3"
    connections.settings["test"] = connections.configure_settings(
        {
            "default": {},
            "test": {
                "ENGINE": f"django.db.backends.{kind}",
                "NAME": url.database,
                "HOST": url.host or "",
                "PORT": str(url.port or ""),
                "USER": url.username or "",
            },
        }
    )["test"]
    connection = connections.create_connection("test")
    connections["test"] = connection
    return connection


def django_plain(engine: Engine) -> Any:
    connection = of_django(engine)
    connection.set_autocommit(False)
    return raw(connection, connection)


def django_cursor(engine: Engine) -> Any:
    connection = of_django(engine)
    connection.set_autocommit(False)
    return raw(connection, connection.cursor())


def address(engine: Engine) -> str:
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


Connect = Callable[[Engine], Any]
BOTH: dict[str, Connect] = {
    "core": core,
    "orm": orm,
    "pooled": pooled,
    "django": django_plain,
    "django_cursor": django_cursor,
}
POSTGRES: dict[str, Connect] = {
    **BOTH,
    "psycopg": psycopg_plain,
    "psycopg_cursor": psycopg_cursor,
    "psycopg_in_autocommit": psycopg_in_autocommit,
    "psycopg_dicts": psycopg_rows(dict_row),
    "psycopg_scalars": psycopg_rows(scalar_row),
    "psycopg_objects": psycopg_rows(class_row(Opened)),
    "psycopg2": psycopg2_plain,
    "psycopg2_cursor": psycopg2_cursor,
}
SQLITE: dict[str, Connect] = {
    **BOTH,
    "sqlite3": sqlite_plain,
    "sqlite3_cursor": sqlite_cursor,
    "sqlite3_in_autocommit": sqlite_in_autocommit,
}
KINDS = [
    *(("postgresql", name) for name in POSTGRES),
    *(("sqlite", name) for name in SQLITE),
]


def connect(engine: Engine, kind: str) -> Any:
    """Open a connection of this kind, as a context."""
    kinds = POSTGRES if engine.dialect.name == "postgresql" else SQLITE
    return kinds[kind](engine)
