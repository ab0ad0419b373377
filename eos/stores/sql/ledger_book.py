"""What the database holds of one shard, read and written inside one transaction.

Whoever writes begins with an UPDATE of the shard's row. The lock on that row puts all writers of
a shard in one order, whatever threads, processes and machines they are of, so that no other row
needs one; and a transaction whose snapshot is older than the lock fails (40001, or BUSY in
SQLite) where it would otherwise overlook what was claimed meanwhile.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    Connection,
    String,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from eos.core.leases import Lease, Leases
from eos.core.ports.inspection import GenerationState
from eos.core.record import Shard
from eos.core.rules import Gap, Owner, with_gap
from eos.stores.sql.arrays import array, joined
from eos.stores.sql.ledger_server import POSTGRES_IDENTITY, sqlite_identity
from eos.stores.sql.ledger_tables import gaps, generations, owners, partitions, shards

DELETED_AT_ONCE = 20_000
"""So many owners of generations that went are deleted with a call."""

_INSERT: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_NAMED = (
    shards.c.namespace == bindparam("_namespace"),
    shards.c.consumer_group == bindparam("_group"),
    shards.c.topic_id == bindparam("_topic_id"),
)
_HELD = (shards.c.id, shards.c.turn, shards.c.seal, shards.c.recovery)
_HERE: Mapping[str, Sequence[Any]] = {
    "sqlite": (
        literal_column("0", BigInteger).label("now_us"),
        literal_column("''", String).label("identity"),
    ),
    "postgresql": (
        literal_column(
            "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)", BigInteger
        ).label("now_us"),
        literal_column(POSTGRES_IDENTITY.text, String).label("identity"),
    ),
}
_COLUMNS = {name: (*_HELD, *here) for name, here in _HERE.items()}
_TURN = {
    name: update(shards).where(*_NAMED).values(turn=shards.c.turn + 1).returning(*columns)
    for name, columns in _COLUMNS.items()
}
_LOOK = {name: select(*columns).where(*_NAMED) for name, columns in _COLUMNS.items()}
_OF_SHARD = partitions.c.shard == bindparam("_shard")
_SOME = select(partitions).where(
    _OF_SHARD, partitions.c.partition.in_(bindparam("_numbers", expanding=True))
)
_ALL = select(partitions).where(_OF_SHARD)
_GAPS = select(gaps).where(
    gaps.c.shard == bindparam("_shard"),
    gaps.c.partition.in_(bindparam("_numbers", expanding=True)),
)
_LIVE = select(generations.c.ends, generations.c.id).where(
    generations.c.shard == bindparam("_shard"), generations.c.ends.is_not(None)
)
_GOING = (
    select(generations.c.id)
    .where(generations.c.shard == bindparam("_shard"), generations.c.ends.is_(None))
    .order_by(generations.c.id)
    .limit(1)
)

# One statement a batch, each key by the index: the plan does not depend on what the database
# believes of the size of its tables. The digests travel as one string, numbers as text: a list
# of values costs the drivers more time than the database needs for all the rest.
_FIND = {
    "sqlite": text(
        "WITH RECURSIVE k(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < :count)"
        ' SELECT o.digest, o."partition", o.record_offset, o.fingerprint'
        " FROM k CROSS JOIN eos_ledger_generations g CROSS JOIN eos_ledger_owners o"
        " WHERE g.shard = :shard AND g.ends IS NOT NULL AND o.generation = g.id"
        " AND o.digest = substr(:digests, 12 * k.i + 1, 12)"
    ),
    "postgresql": text(
        'SELECT o.digest, o."partition", o.record_offset, o.fingerprint'
        " FROM generate_series(0, CAST(:count AS int) - 1) AS k(i) CROSS JOIN LATERAL ("
        ' SELECT digest, "partition", record_offset, fingerprint FROM eos_ledger_owners'
        " WHERE generation = ANY(CAST(:generations AS int[])) AND digest ="
        " substring(CAST(:digests AS bytea) FROM 12 * k.i + 1 FOR 12) LIMIT 1) AS o"
    ),
}
_OWN = text(
    'INSERT INTO eos_ledger_owners (generation, digest, "partition", record_offset, fingerprint)'
    " SELECT CAST(:generation AS int),"
    " substring(CAST(:digests AS bytea) FROM CAST(12 * (n - 1) + 1 AS int) FOR 12), p, o, f"
    " FROM unnest(CAST(:partitions AS int[]), CAST(:offsets AS bigint[]),"
    " CAST(:fingerprints AS bigint[])) WITH ORDINALITY AS k(p, o, f, n)"
)
# As the driver itself wants it: there is no round trip to save, but work for each row.
_OWN_SQLITE = (
    'INSERT INTO eos_ledger_owners (generation, digest, "partition", record_offset, fingerprint)'
    " VALUES (?, ?, ?, ?, ?)"
)


@dataclass(slots=True)
class Part:
    """What is known of a partition; the columns of `eos_ledger_partitions`."""

    epoch: int = 0
    claimed: int = 0
    floor: int = 0
    begun: int = 0
    opened: int = 0
    last: int = 0
    passed: int = 0


_PART = tuple(field.name for field in fields(Part))


@dataclass(slots=True)
class Book:
    """A shard, as this transaction sees it.

    Attributes:
        id: Its number.
        turn: How many transactions have written to it.
        seal: Its seal; None if it has none.
        recovery: Who recovers it, as `leases_of` reads it.
        now_us: The clock of the database, microseconds since the epoch.
        identity: The database.
    """

    connection: Connection
    id: int
    turn: int
    seal: str | None
    recovery: str | None
    now_us: int
    identity: str

    @classmethod
    def opened(
        cls, connection: Connection, shard: Shard, clock: Any, *, makes: bool = False
    ) -> Self | None:
        """Lock a shard; None if there is none, unless the call makes it."""
        names = {"_namespace": shard.namespace, "_group": shard.group, "_topic_id": shard.topic_id}
        turn = _TURN[connection.dialect.name]
        row = connection.execute(turn, names).one_or_none()
        if row is None and makes:
            new = _INSERT[connection.dialect.name](shards).values(
                namespace=shard.namespace, consumer_group=shard.group, topic_id=shard.topic_id
            )
            connection.execute(new.on_conflict_do_nothing())
            row = connection.execute(turn, names).one_or_none()
        return None if row is None else cls._of(connection, row, clock)

    @classmethod
    def seen(cls, connection: Connection, shard: Shard, clock: Any) -> Self | None:
        """Look at a shard without a lock."""
        names = {"_namespace": shard.namespace, "_group": shard.group, "_topic_id": shard.topic_id}
        row = connection.execute(_LOOK[connection.dialect.name], names).one_or_none()
        return None if row is None else cls._of(connection, row, clock)

    @classmethod
    def _of(cls, connection: Connection, row: Any, clock: Any) -> Self:
        book = cls(connection, *row)
        if connection.dialect.name == "sqlite":
            book.now_us, book.identity = int(clock() * 1_000_000), sqlite_identity(connection)
        return book

    @property
    def sealed(self) -> bool:
        """Whether the seal names the database that answers."""
        return self.seal is not None and self.seal.startswith(f"{self.identity}/")

    @property
    def leases(self) -> Leases | None:
        """The recovery that runs against this database; not one that came with its data."""
        found = leases_of(self.recovery)
        return found if found and found.identity.startswith(f"{self.identity}/") else None

    @property
    def recovered(self) -> bool:
        """Whether anybody recovers a part of it now."""
        found = self.leases
        return found is not None and any(found.holder(part, self.now_us) for part in found.held)

    def sign(self) -> None:
        """Write seal and recovery."""
        signed = update(shards).where(shards.c.id == self.id)
        self.connection.execute(signed.values(seal=self.seal, recovery=self.recovery))

    def share(self, recovery: Leases | None) -> None:
        """Write down who recovers it."""
        self.recovery = packed(recovery) if recovery else None
        self.sign()

    # --- partitions -----------------------------------------------------------------------

    def parts(self, numbers: Iterable[int]) -> dict[int, Part]:
        """Give what is known of these partitions."""
        asked = sorted(set(numbers))
        rows = self.connection.execute(_SOME, {"_shard": self.id, "_numbers": asked})
        return {number: Part() for number in asked} | _parts(rows)

    def all_parts(self) -> dict[int, Part]:
        """Give what is known of all partitions that are known."""
        return _parts(self.connection.execute(_ALL, {"_shard": self.id}))

    def keep(self, parts: Mapping[int, Part]) -> None:
        """Write down what is known of partitions."""
        if not parts:
            return
        statement = _INSERT[self.connection.dialect.name](partitions)
        statement = statement.on_conflict_do_update(
            index_elements=["shard", "partition"],
            set_={name: statement.excluded[name] for name in _PART},
        )
        rows = [
            {"shard": self.id, "partition": number} | dict(zip(_PART, astuple(part), strict=True))
            for number, part in sorted(parts.items())
        ]
        self.connection.execute(statement, rows)

    # --- gaps -----------------------------------------------------------------------------

    def gaps(self, numbers: Iterable[int]) -> dict[int, list[Gap]]:
        """Give where nothing is delivered any more, by partition."""
        found: dict[int, list[Gap]] = {}
        for row in self.connection.execute(_GAPS, {"_shard": self.id, "_numbers": list(numbers)}):
            found.setdefault(row.partition, []).append(Gap(row.start, row.stop, row.time))
        return found

    def add_gap(self, number: int, gap: Gap, length: int) -> None:
        """Note a gap.

        Args:
            number: The partition.
            gap: The gap.
            length: Length of a generation, in seconds.
        """
        now = self.now_us // 1_000_000
        oldest = min(self.generations(), default=length) - length
        kept = with_gap(self.gaps([number]).get(number, []), gap._replace(time=now), oldest)
        self.connection.execute(
            delete(gaps).where(gaps.c.shard == self.id, gaps.c.partition == number)
        )
        rows = [{"shard": self.id, "partition": number, **each._asdict()} for each in kept]
        self.connection.execute(gaps.insert(), rows)

    # --- owners ---------------------------------------------------------------------------

    def generations(self) -> dict[int, int]:
        """Give the live generations: number by end."""
        rows = self.connection.execute(_LIVE, {"_shard": self.id})
        return {row.ends: row.id for row in rows}

    def counts(self) -> list[GenerationState]:
        """Count the owners of each live generation; the oldest first."""
        counted = (
            select(generations.c.ends, func.count(owners.c.digest))
            .outerjoin(owners, owners.c.generation == generations.c.id)
            .where(generations.c.shard == self.id, generations.c.ends.is_not(None))
            .group_by(generations.c.ends)
            .order_by(generations.c.ends)
        )
        return [GenerationState(ends, count) for ends, count in self.connection.execute(counted)]

    def owners(self, digests: Sequence[bytes], live: Mapping[int, int]) -> dict[bytes, Owner]:
        """Give who owns which of these keys."""
        if not digests or not live:
            return {}
        asked: dict[str, Any] = {"count": len(digests), "digests": joined(digests)}
        if self.connection.dialect.name == "sqlite":
            asked["shard"] = self.id
        else:
            asked["generations"] = array(live.values())
        rows = self.connection.execute(_FIND[self.connection.dialect.name], asked).all()
        return {row[0]: Owner(row[1], row[2], row[3]) for row in rows}

    def own(self, ends: int, new: Mapping[bytes, Owner], live: dict[int, int]) -> None:
        """Write down owners of one generation; no one of these keys may have an owner."""
        if ends not in live:
            made = self.connection.execute(
                generations.insert().values(shard=self.id, ends=ends).returning(generations.c.id)
            )
            live[ends] = made.scalar_one()
        id_ = live[ends]
        if self.connection.dialect.name == "sqlite":
            rows = [(id_, digest, *owner) for digest, owner in new.items()]
            self.connection.exec_driver_sql(_OWN_SQLITE, rows)
            return
        numbers, offsets, fingerprints = zip(*new.values(), strict=True)
        told = {
            "generation": id_,
            "digests": joined(new),
            "partitions": array(numbers),
            "offsets": array(offsets),
            "fingerprints": array(fingerprints),
        }
        self.connection.execute(_OWN, told)

    def disown(self, digests: Sequence[bytes], live: Mapping[int, int]) -> None:
        """Let go of the owners of these keys."""
        for start in range(0, len(digests), DELETED_AT_ONCE):
            some = digests[start : start + DELETED_AT_ONCE]
            self.connection.execute(
                delete(owners).where(
                    owners.c.generation.in_(live.values()), owners.c.digest.in_(some)
                )
            )

    def prune(self, live: Mapping[int, int]) -> None:
        """Forget generations that nobody is left in."""
        left = select(owners.c.generation).where(owners.c.generation == generations.c.id).exists()
        self.connection.execute(
            delete(generations).where(generations.c.id.in_(live.values()), ~left)
        )

    def clear(self) -> None:
        """Forget everything, and break the seal; `drop` deletes what is many."""
        self.seal = None
        self.share(None)
        self.connection.execute(delete(partitions).where(partitions.c.shard == self.id))
        self.connection.execute(delete(gaps).where(gaps.c.shard == self.id))
        self.drop(list(self.generations().values()))

    def drop(self, ids: Sequence[int]) -> bool:
        """Let generations go, and delete a part of what went; tell whether there is more."""
        if ids:
            going = update(generations).where(generations.c.id.in_(ids)).values(ends=None)
            self.connection.execute(going)
        first = self.connection.execute(_GOING, {"_shard": self.id}).scalar()
        if first is None:
            return False
        some = select(owners.c.digest).where(owners.c.generation == first).limit(DELETED_AT_ONCE)
        gone = self.connection.execute(
            delete(owners).where(owners.c.generation == first, owners.c.digest.in_(some))
        )
        if gone.rowcount < DELETED_AT_ONCE:
            self.connection.execute(delete(generations).where(generations.c.id == first))
        return True


def packed(recovery: Leases) -> str:
    """Write a recovery down; times are in microseconds since the epoch."""
    return json.dumps(
        {
            "identity": recovery.identity,
            "held": [[part, *lease] for part, lease in recovery.held.items()],
            "done": sorted(recovery.done),
        }
    )


def leases_of(text: str | None) -> Leases | None:
    """Read what `packed` wrote."""
    if text is None:
        return None
    told = json.loads(text)
    held = {part: Lease(token, until) for part, token, until in told["held"]}
    return Leases(told["identity"], held, set(told["done"]))


def _parts(rows: Iterable[Any]) -> dict[int, Part]:
    return {row.partition: Part(*(getattr(row, name) for name in _PART)) for row in rows}
