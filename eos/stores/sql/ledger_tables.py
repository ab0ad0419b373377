"""The tables of the ledger: shards, their partitions, and owners by generation."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from eos.stores.sql.tables import metadata

shards = Table(
    "eos_ledger_shards",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace", String(100), nullable=False),
    Column("consumer_group", String(255), nullable=False),
    Column("topic_id", String(260), nullable=False),
    Column("turn", BigInteger, nullable=False, server_default="0"),
    Column("seal", Text, nullable=True),
    Column("recovery", Text, nullable=True),
    Index("eos_ledger_shards_name", "namespace", "consumer_group", "topic_id", unique=True),
    sqlite_autoincrement=True,
)
"""Seal of each shard, and who recovers it: JSON, see `ledger_book`.

`turn` counts the transactions that wrote to the shard. Without its row a shard is closed.
"""

partitions = Table(
    "eos_ledger_partitions",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("claimed", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("passed", BigInteger, nullable=False),
)
"""What is known of each partition.

`claimed`, `floor` and `begun` are as in `eos.core.ports.Taken`; `opened` is where the log ended
when the shard was opened: owners below are hearsay. `last` and `passed` are the log time, in
seconds, of the latest claim and of the frontier.
"""

gaps = Table(
    "eos_ledger_gaps",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("stop", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
)
"""Where nothing is delivered any more, as in `eos.core.rules.Gap`: owners there are void."""

generations = Table(
    "eos_ledger_generations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("ends", BigInteger, nullable=True),
    Index("eos_ledger_generations_ends", "shard", "ends", unique=True),
    sqlite_autoincrement=True,
)
"""Owners go by generations. `ends` is log time in seconds; NULL: its owners are being deleted."""

# The columns stand in an order that leaves PostgreSQL nothing to fill up.
owners = Table(
    "eos_ledger_owners",
    metadata,
    Column("record_offset", BigInteger, nullable=False),
    Column("fingerprint", BigInteger, nullable=False),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("partition", Integer, nullable=False),
    Column("digest", LargeBinary(12), primary_key=True),
    sqlite_with_rowid=False,
)
"""Which position owns a key. A key stands in at most one live generation of a shard."""
