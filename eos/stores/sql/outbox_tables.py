"""The tables of the outbox: rows that wait, that wait for their time, that are out, that are dead.

A row's table says what has become of it. Who adds writes to the first two, the relay to all.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, String, Table
from sqlalchemy import Text as LongText

from eos.stores.sql.tables import LONG, metadata

# A message: the columns that all four have.
COLUMNS = ("shard", "topic", "message_id", "record_key", "value", "headers", "added_ms")


def _message(*, counts: bool) -> tuple[Column[Any], ...]:
    return (
        Column("id", LONG, primary_key=True, autoincrement=counts),
        Column("shard", SmallInteger, nullable=False),
        Column("topic", String(249), nullable=False),
        Column("message_id", String(255), nullable=False),
        Column("record_key", LargeBinary, nullable=True),
        Column("value", LargeBinary, nullable=True),
        Column("headers", LongText, nullable=False),
        Column("added_ms", BigInteger, nullable=False),
    )


outbox = Table(
    "eos_outbox",
    metadata,
    *_message(counts=True),
    Index("eos_outbox_shard", "shard", "id"),
    sqlite_autoincrement=True,  # or an id would be used twice, when the last row is gone
)
"""What is to be published now. `headers` is JSON: pairs of name and text, or name, null and base64;
`added_ms` is in milliseconds since the epoch."""

scheduled = Table(
    "eos_outbox_scheduled",
    metadata,
    *_message(counts=True),
    Column("deliver_ms", BigInteger, nullable=False),
    Index("eos_outbox_scheduled_due", "shard", "deliver_ms"),
    sqlite_autoincrement=True,
)
"""What is to be published later: milliseconds since the epoch."""

published = Table(
    "eos_outbox_published",
    metadata,
    *_message(counts=False),
    Column("batch", BigInteger, nullable=False),
    Column("published_ms", BigInteger, nullable=False),
    Index("eos_outbox_published_age", "shard", "published_ms"),
)
"""What was published, where the relay is told to keep it for a while."""

dead = Table(
    "eos_outbox_dead",
    metadata,
    *_message(counts=False),
    Column("reason", LongText, nullable=False),
    Column("died_ms", BigInteger, nullable=False),
)
"""What Kafka will not take, and why."""

shards = Table(
    "eos_outbox_shards",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("namespace", String(100), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("recorded", LongText, nullable=False),
    Column("batch", BigInteger, nullable=False),
)
"""How far each shard has come: see `eos.core.outbox.Progress`."""
