"""Adds rows to the outbox, in somebody else's transaction: one statement however many there are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from eos.stores.sql.connections import attached
from eos.stores.sql.outbox_tables import COLUMNS
from eos.stores.sql.outbox_wake import CHANNEL

_AT_ONCE = 500
_ALL = ", ".join(COLUMNS)


class Added(NamedTuple):
    """A row that is to be added; its fields are the columns, in their order."""

    shard: int
    topic: str
    message_id: str
    key: bytes | None
    value: bytes | None
    headers: str
    added_ms: int


_ARRAYS = (
    "unnest(CAST(:shard AS smallint[]), CAST(:topic AS text[]), CAST(:message_id AS text[]),"
    " CAST(:key AS bytea[]), CAST(:value AS bytea[]), CAST(:headers AS text[]),"
    " CAST(:added_ms AS bigint[])) WITH ORDINALITY"
)
# Whoever relays is told with the commit, and of a rolled back one never.
_ADD_MANY = text(
    f"WITH added AS (INSERT INTO eos_outbox ({_ALL})"
    f" SELECT {_ALL} FROM {_ARRAYS} AS given ({_ALL}, ordinal) ORDER BY ordinal RETURNING shard)"
    f" SELECT pg_notify('{CHANNEL}' || shard, '') FROM added GROUP BY shard"
)
_SCHEDULE_MANY = text(
    f"INSERT INTO eos_outbox_scheduled ({_ALL}, deliver_ms)"
    f" SELECT {_ALL}, CAST(:deliver_ms AS bigint)"
    f" FROM {_ARRAYS} AS given ({_ALL}, ordinal) ORDER BY ordinal"
)
_VALUES = "(:shard, :topic, :message_id, :key, :value, :headers, :added_ms"
_ADD = f"INSERT INTO eos_outbox ({_ALL}) VALUES {_VALUES})"
_ADD_ONE = {
    "postgresql": text(f"{_ADD} RETURNING pg_notify('{CHANNEL}' || shard, '')"),
    "sqlite": text(_ADD),
}
_SCHEDULE_ONE = text(
    f"INSERT INTO eos_outbox_scheduled ({_ALL}, deliver_ms) VALUES {_VALUES}, :deliver_ms)"
)


def add(db: Any, rows: Sequence[Added], deliver_ms: int | None) -> None:
    """Add rows, in this order.

    Args:
        db: Any connection that `attached` knows, in a transaction.
        rows: What to add.
        deliver_ms: When they are to be published, milliseconds since the epoch; None: now.

    Raises:
        ConfigError: It is no such connection, or in no transaction.
        RetriableError: The database is away.
    """
    to = attached(db)
    later: dict[str, Any] = {} if deliver_ms is None else {"deliver_ms": deliver_ms}
    if len(rows) == 1 or to.dialect == "sqlite":  # arrays cost more than they save
        one = _SCHEDULE_ONE if later else _ADD_ONE[to.dialect]
        for row in rows:
            to.run(one, {**row._asdict(), **later})
        return
    for start in range(0, len(rows), _AT_ONCE):
        arrays = {
            name: list(column)
            for name, column in zip(
                Added._fields, zip(*rows[start : start + _AT_ONCE], strict=True), strict=True
            )
        }
        to.run(_SCHEDULE_MANY if later else _ADD_MANY, {**arrays, **later})
