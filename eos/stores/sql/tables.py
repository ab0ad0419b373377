"""The tables of eos, as SQLAlchemy metadata: hand it to Alembic beside your own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from eos.core.errors import ConfigError
from eos.stores.sql.errors import translated

metadata = MetaData()
"""All tables of eos; their names begin with `eos_`."""

LONG = BigInteger().with_variant(Integer, "sqlite")
"""Only so does SQLite count by itself."""
_LOCK = 0x656F73  # of all who create or migrate; "eos" in ASCII

schema = Table(
    "eos_schema",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("version", Integer, nullable=False),
)
"""The version of these tables: one row, named `eos`. None where Alembic made them."""

frontiers = Table(
    "eos_frontiers",
    metadata,
    Column("namespace", String(100), primary_key=True),
    Column("consumer_group", String(255), primary_key=True),
    Column("topic_id", String(260), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("topic", String(249), nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("log_time", BigInteger, nullable=False, server_default="0"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
"""The first offset that is not settled, how many tries of its record failed, and the log time
(seconds) that settling has come to."""

suppressed = Table(
    "eos_suppressed",
    metadata,
    Column("id", LONG, primary_key=True),
    Column("namespace", String(100), nullable=False),
    Column("consumer_group", String(255), nullable=False),
    Column("topic_id", String(260), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("record_offset", BigInteger, nullable=False),
    Column("digest", LargeBinary(64), nullable=False),
    Column("owner_topic_id", String(260), nullable=False),
    Column("owner_partition", Integer, nullable=False),
    Column("owner_offset", BigInteger, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("log_time", BigInteger, nullable=False),
    Column("source", String(1000), nullable=True),
    Column("noted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(
        "eos_suppressed_position",
        "namespace",
        "consumer_group",
        "topic_id",
        "partition",
        "record_offset",
    ),
    sqlite_autoincrement=True,
)
"""The audit: each record that was suppressed, in whose favour, and why. Only added to."""

# The columns stand in an order that leaves PostgreSQL nothing to fill up.
inbox_keys = Table(
    "eos_inbox_keys",
    metadata,
    Column("record_offset", BigInteger, nullable=False),
    Column("fingerprint", BigInteger, nullable=False),
    Column("log_time", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False, autoincrement=False),
    Column("partition", Integer, nullable=False),
    Column("digest", LargeBinary(12), nullable=False),
    PrimaryKeyConstraint("digest", "shard"),
    Index("eos_inbox_keys_time", "shard", "log_time"),
    sqlite_with_rowid=False,
)
"""Which position owns an idempotency key, where effects are in this same database. The shard is a
row of `eos_ledger_shards`: namespace, group and topic id."""

Migration = Callable[[Connection], None]

MIGRATIONS: Sequence[Migration] = ()
"""The n-th makes version n + 1 of version n, counted from 1. Never change one that was released."""


def create(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Create the tables that are missing; several processes may do so at once.

    Raises:
        ConfigError: There are tables of another version.
    """
    with _alone(engine) as connection:
        if _exists(connection):
            _compare(connection, _version(connection), migrations)
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        if _version(connection) is None:
            connection.execute(insert(schema).values(name="eos", version=len(migrations) + 1))


def check(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """See that the tables are there and are those of this version.

    Raises:
        ConfigError: They are not; the message names the command that helps.
        RetriableError: The database is away.
        FatalError: It refuses the login.
    """
    with translated(), engine.connect() as connection:
        if not _exists(connection):
            raise ConfigError(
                [f"the database has no tables of eos: run `eos db create {_url(connection)}`"]
            )
        _compare(connection, _version(connection), migrations)
        missing = sorted(_missing(connection))
        if missing:
            advice = f"run `eos db create {_url(connection)}`, or Alembic if it makes these tables"
            raise ConfigError([f"the database lacks {', '.join(missing)}: {advice}"])


def migrate(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> list[int]:
    """Bring the tables to the version of this eos, all of the way or not at all.

    Returns:
        The versions that were made, in order; empty if there was nothing to do.

    Raises:
        ConfigError: There are no tables yet, or those of a newer eos.
    """
    with _alone(engine) as connection:
        if not _exists(connection):
            raise ConfigError(
                [f"there is nothing to migrate: run `eos db create {_url(connection)}`"]
            )
        found, newest = _version(connection), len(migrations) + 1
        if found is None:  # Alembic does this
            return []
        if found > newest:
            _compare(connection, found, migrations)
        made = list(range(found + 1, newest + 1))
        for version in made:
            migrations[version - 2](connection)
            connection.execute(update(schema).values(version=version))
        return made


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Give a transaction, one at a time: nobody else creates or migrates meanwhile."""
    with translated(), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # A deferred one would not hold what is created together.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield connection
        connection.commit()


def _exists(connection: Connection) -> bool:
    return bool(inspect(connection).has_table(schema.name))


def _version(connection: Connection) -> int | None:
    return connection.execute(select(schema.c.version)).scalar()


def _compare(connection: Connection, found: int | None, migrations: Sequence[Migration]) -> None:
    ours = len(migrations) + 1
    if found is None or found == ours:
        return
    if found < ours:
        advice = f"run `eos db migrate {_url(connection)}`"
        raise ConfigError([f"the tables of eos are of version {found}, not {ours}: {advice}"])
    raise ConfigError(
        [f"the tables of eos are of version {found}, this eos knows {ours}: install a newer one"]
    )


def _missing(connection: Connection) -> Iterator[str]:
    """Name tables and columns that the database does not have."""
    looked = inspect(connection)
    there = set(looked.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in there:
            yield f"table {table.name}"
            continue
        columns = {column["name"] for column in looked.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                yield f"column {table.name}.{column.name}"


def _url(connection: Connection) -> str:
    return connection.engine.url.render_as_string(hide_password=True)
