"""The one place where what SQLAlchemy and the drivers raise becomes an error of eos.

Errors are told apart by SQLSTATE (PostgreSQL) and by error code (SQLite), never by their text.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from eos.core.errors import ConfigError, EosError, FatalError, RetriableError

_TABLES = "lacks tables of eos: run `eos db create URL`, or `eos db migrate URL`"
_AGAIN = "undid the transaction because of another one: do it again"
_AWAY = "is away: check that it runs, and the network to it"
# What refuses a connection has no SQLSTATE in libpq: a wrong password looks like a port where
# nobody listens, but for the text, which is the server's.
_UNREACHED = "gives no connection: check that it runs, and user, password and name in its URL"
_BUSY = "is locked by another transaction: do it again, and keep transactions short"
_FULL = "has no room left: free its disk"
_READ_ONLY = "takes no writes: point at the primary, or free it for writing"
_LOGIN = "refuses the login: check user and password in its URL"
_FAILED = "25P02"
_RIGHTS = "gives its user too few rights: SELECT, INSERT, UPDATE and DELETE on tables eos_*"


class _Row(NamedTuple):
    codes: tuple[str, ...]
    meaning: type[EosError]
    advice: str


# The first row decides in which a code begins as the error's does.
_BY_STATE = (
    _Row(("40001", "40P01"), RetriableError, _AGAIN),
    _Row(("55P03", "57014"), RetriableError, _BUSY),
    _Row(("08", "57P", "25P03", "25P04"), RetriableError, _AWAY),
    _Row(("25006",), RetriableError, _READ_ONLY),
    _Row(("53100",), RetriableError, _FULL),
    _Row(("53",), RetriableError, "is short of memory or connections: wait, or give it more"),
    _Row(("28",), FatalError, _LOGIN),
    _Row(("3D000",), FatalError, "has no such database: create it, or correct its URL"),
    _Row(("42P01", "42703", "3F000"), ConfigError, _TABLES),
    _Row(("42501",), FatalError, _RIGHTS),
    _Row((_FAILED,), RetriableError, "refuses a transaction that failed before: roll it back"),
)
_BY_CODE = {
    sqlite3.SQLITE_BUSY: (RetriableError, _BUSY),
    sqlite3.SQLITE_LOCKED: (RetriableError, _BUSY),
    sqlite3.SQLITE_FULL: (RetriableError, _FULL),
    sqlite3.SQLITE_IOERR: (RetriableError, "cannot read or write its file: check the disk"),
    sqlite3.SQLITE_READONLY: (RetriableError, _READ_ONLY),
    sqlite3.SQLITE_CANTOPEN: (RetriableError, "cannot be opened: check the path and its rights"),
    sqlite3.SQLITE_ERROR: (ConfigError, _TABLES),
}


def translate(error: BaseException) -> EosError:
    """Give the error of eos that says what to do about one of SQLAlchemy's or a driver's."""
    driver = _of_driver(error)
    text = str(driver).strip().partition("\n")[0]
    if isinstance(driver, sqlite3.Error):
        code = getattr(driver, "sqlite_errorcode", 0) & 0xFF
        meaning, advice = _BY_CODE.get(code, (FatalError, "gives an answer that nobody expects"))
        return _made(meaning, f"the database {advice} ({text})")
    state = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    if state is None and _is_a(driver, "OperationalError"):
        connecting = getattr(driver, "pgconn", None) is not None
        advice = _UNREACHED if connecting else _AWAY
        return RetriableError(f"the database {advice} ({text})", on="database")
    for row in _BY_STATE:
        if state and state.startswith(row.codes):
            return _made(row.meaning, f"the database {row.advice} ({text})")
    return FatalError(f"the database gives an answer that nobody expects ({text})")


def has_failed(error: BaseException) -> bool:
    """Tell whether PostgreSQL refuses a statement because one before it failed."""
    driver = _of_driver(error)
    return (getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)) == _FAILED


@contextmanager
def translated() -> Iterator[None]:
    """Let no exception of SQLAlchemy's or a driver's pass."""
    try:
        yield
    except EosError:
        raise
    except SQLAlchemyError as error:
        raise translate(error) from error
    except Exception as error:
        if not _is_a(_of_driver(error), "Error"):  # the root of each driver's errors (PEP 249)
            raise
        raise translate(error) from error


def _of_driver(error: BaseException) -> BaseException:
    """Give what the driver itself raised: SQLAlchemy keeps it as `orig`, Django as the cause."""
    origin = getattr(error, "orig", None)
    if origin is None and type(error).__module__.startswith("django."):
        origin = error.__cause__
    return origin if isinstance(origin, BaseException) else error


def _is_a(error: BaseException, name: str) -> bool:
    return any(base.__name__ == name for base in type(error).__mro__)


def _made(meaning: type[EosError], message: str) -> EosError:
    if meaning is RetriableError:
        return RetriableError(message, on="database")
    return ConfigError([message]) if meaning is ConfigError else meaning(message)
