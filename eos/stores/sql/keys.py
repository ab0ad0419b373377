"""Idempotency keys and audit as rows beside the effects: what is claimed is so with the commit.

The rows of `eos_inbox_keys` are the owners. Two transactions that claim one key at once:

1. A inserts the key. B, which has not seen it, inserts it, too, and waits for the end of A.
2. A commits: B inserts nothing, looks again, and finds A's position. A rolls back: B's is the
   owner.

Keys are inserted in one order everywhere, and those that redriven records take over are updated in
the same one, after all that is inserted, so that two batches do not wait for each other. In SQLite
one transaction writes at a time, and nobody can come between.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text

from eos.core import rules
from eos.core.errors import AbortableError
from eos.core.ports import Claimed, Claims, Known, Suppressed
from eos.core.record import Shard
from eos.core.rules import Owner, Verdict
from eos.stores.sql.arrays import array, joined
from eos.stores.sql.frontiers import PRUNE
from eos.stores.sql.ledger_tables import shards
from eos.stores.sql.tables import frontiers, suppressed

FORGOTTEN_AT_ONCE = 5_000

# One statement a batch, each key by the index, whatever the database believes of the size of its
# tables. Digests travel as one string, numbers as text: lists of values cost the drivers more
# time than the database needs for all the rest. For a shard that its statistics do not know yet
# PostgreSQL takes any index to be as good, and by that of the time would read all keys of the shard
# for each one: `shard + 0` leaves it the primary key alone.
_FIND = {
    "sqlite": text(
        "WITH RECURSIVE k(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < :count)"
        ' SELECT o.digest, o."partition", o.record_offset, o.fingerprint'
        " FROM k CROSS JOIN eos_inbox_keys o WHERE o.shard = :shard"
        " AND o.digest = substr(:digests, 12 * k.i + 1, 12)"
    ),
    "postgresql": text(
        'SELECT o.digest, o."partition", o.record_offset, o.fingerprint'
        " FROM generate_series(0, CAST(:count AS int) - 1) AS k(i) CROSS JOIN LATERAL ("
        ' SELECT digest, "partition", record_offset, fingerprint FROM eos_inbox_keys'
        " WHERE shard + 0 = :shard AND digest ="
        " substring(CAST(:digests AS bytea) FROM 12 * k.i + 1 FOR 12) LIMIT 1) AS o"
    ),
}
_OWN = text(
    'INSERT INTO eos_inbox_keys (shard, digest, "partition", record_offset, fingerprint, log_time)'
    " SELECT CAST(:shard AS int),"
    " substring(CAST(:digests AS bytea) FROM CAST(12 * (n - 1) + 1 AS int) FOR 12), p, o, f, t"
    " FROM unnest(CAST(:partitions AS int[]), CAST(:offsets AS bigint[]),"
    " CAST(:fingerprints AS bigint[]), CAST(:times AS bigint[]))"
    " WITH ORDINALITY AS k(p, o, f, t, n) ORDER BY n ON CONFLICT DO NOTHING"
)
# As the driver itself wants it: there is no round trip to save, but work for each row.
_OWN_SQLITE = (
    'INSERT INTO eos_inbox_keys (shard, digest, "partition", record_offset, fingerprint, log_time)'
    " VALUES (?, ?, ?, ?, ?, ?)"
)

# Of two transactions that take over one key the second waits for the first, and then finds that its
# owner is another one.
_TAKE_OVER = text(
    'UPDATE eos_inbox_keys SET "partition" = :partition, record_offset = :offset,'
    " fingerprint = :fingerprint, log_time = :time WHERE shard = :shard AND digest = :digest"
    ' AND "partition" = :from_partition AND record_offset = :from_offset'
)

_NUMBER = select(shards.c.id).where(
    shards.c.namespace == bindparam("_namespace"),
    shards.c.consumer_group == bindparam("_group"),
    shards.c.topic_id == bindparam("_topic_id"),
)

New = Mapping[bytes, tuple[Owner, int]]
"""Who is to own which key, and under which log time."""


def claim(
    db: Connection, shard: Shard, batch: Sequence[Claims], times: dict[int, int], now: int
) -> Claimed:
    """Claim the keys of a batch.

    Args:
        db: In the transaction of the effects; the frontiers of the batch are locked.
        shard: Whose keys.
        batch: The claims.
        times: The log time that each partition has come to; moved on.
        now: The clock, in seconds since the epoch.

    Raises:
        AbortableError: An owner was forgotten, or a key taken over, under our eyes.
    """
    digests = list(dict.fromkeys(d for claims in batch for d in claims.digests if d))
    number = db.execute(_NUMBER, _scope(shard)).scalar_one() if digests else 0
    owners = _find(db, number, digests)
    new, redriven = _first(batch, owners, times, now)
    if new and _own(db, number, new) < len(new):
        # Somebody else was quicker, and has committed.
        others = _find(db, number, new)
        owners |= {d: owner for d, owner in others.items() if owner != new[d][0]}
        if len(others) < len(new):
            raise AbortableError("the owner of a key was forgotten meanwhile", "database")
    before = {**{d: owner for d, (owner, _) in new.items()}, **owners} if redriven else {}
    answer = _judged(batch, owners)
    for digest, time in sorted(redriven.items()):
        if digest in before and owners[digest] != before[digest]:
            _take_over(db, number, digest, before[digest], (owners[digest], time))
    return answer


def owners(db: Connection, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
    """Tell who owns keys; those that somebody owns."""
    return _find(db, db.execute(_NUMBER, _scope(shard)).scalar_one(), digests)


def own(db: Connection, shard: Shard, new: New) -> None:
    """Write owners down of keys that have none."""
    if new:
        _own(db, db.execute(_NUMBER, _scope(shard)).scalar_one(), new)


def note(db: Connection, shard: Shard, records: Sequence[Suppressed]) -> None:
    """Write down what was suppressed."""
    rows = [
        {
            "namespace": shard.namespace,
            "consumer_group": shard.group,
            "topic_id": shard.topic_id,
            "partition": each.partition,
            "record_offset": each.offset,
            "digest": each.digest,
            "owner_topic_id": shard.topic_id,
            "owner_partition": each.owner.partition,
            "owner_offset": each.owner.offset,
            "verdict": each.verdict.value,
            "log_time": each.log_time,
            "source": each.source,
        }
        for each in records
    ]
    db.execute(insert(suppressed), rows)


def forget(db: Connection, shard: Shard, partitions: int, window: int) -> bool:
    """Forget some keys that are older, by the window, than each frontier of the topic.

    Args:
        db: In a transaction of its own.
        shard: Whose keys.
        partitions: How many the topic has: nothing is forgotten before all of them have a row.
        window: In seconds.

    Returns:
        Whether there may be more of them.
    """
    rows = select(func.count()).where(
        frontiers.c.namespace == shard.namespace,
        frontiers.c.consumer_group == shard.group,
        frontiers.c.topic_id == shard.topic_id,
    )
    if db.execute(rows).scalar_one() < partitions:
        return False
    bounds = {"_window": window, "_limit": FORGOTTEN_AT_ONCE}
    return db.execute(PRUNE, {**_scope(shard), **bounds}).rowcount == FORGOTTEN_AT_ONCE


def _scope(shard: Shard) -> dict[str, Any]:
    return {"_namespace": shard.namespace, "_group": shard.group, "_topic_id": shard.topic_id}


def _find(db: Connection, shard: int, digests: Collection[bytes]) -> dict[bytes, Owner]:
    if not digests:
        return {}
    asked = {"shard": shard, "count": len(digests), "digests": joined(digests)}
    rows = db.execute(_FIND[db.dialect.name], asked)
    return {bytes(row[0]): Owner(row[1], row[2], row[3]) for row in rows}


def _first(
    batch: Sequence[Claims], owners: Mapping[bytes, Owner], times: dict[int, int], now: int
) -> tuple[New, dict[bytes, int]]:
    """Give the first position of each key that has no owner yet.

    And the log time of records that were redriven, by their key: they may take it over.
    """
    new: dict[bytes, tuple[Owner, int]] = {}
    redriven: dict[bytes, int] = {}
    for claims in batch:
        time = times.get(claims.partition, 0)
        for n, (offset, digest, fingerprint, stamp) in enumerate(
            zip(claims.offsets, claims.digests, claims.fingerprints, claims.times, strict=True)
        ):
            time = rules.log_time(stamp, time, now)
            if digest and offset >= claims.frontier and digest not in owners:
                new.setdefault(digest, (Owner(claims.partition, offset, fingerprint), time))
            if n in claims.redriven:
                redriven[digest] = max(time, redriven.get(digest, 0))
        times[claims.partition] = time
    return new, redriven


def _own(db: Connection, shard: int, new: New) -> int:
    """Write owners down; give how many of the keys had none."""
    digests = sorted(new)
    owned = [new[digest] for digest in digests]
    if db.dialect.name == "sqlite":
        rows = [(shard, d, *owner, time) for d, (owner, time) in zip(digests, owned, strict=True)]
        return db.exec_driver_sql(_OWN_SQLITE, rows).rowcount
    told = {
        "shard": shard,
        "digests": joined(digests),
        "partitions": array(owner.partition for owner, _ in owned),
        "offsets": array(owner.offset for owner, _ in owned),
        "fingerprints": array(owner.fingerprint for owner, _ in owned),
        "times": array(time for _, time in owned),
    }
    return db.execute(_OWN, told).rowcount


def _take_over(
    db: Connection, shard: int, digest: bytes, old: Owner, new: tuple[Owner, int]
) -> None:
    """Make a redriven record the owner of a key in place of its dead letter."""
    (partition, offset, fingerprint), time = new
    told = {
        "shard": shard,
        "digest": digest,
        "partition": partition,
        "offset": offset,
        "fingerprint": fingerprint,
        "time": time,
        "from_partition": old.partition,
        "from_offset": old.offset,
    }
    if db.execute(_TAKE_OVER, told).rowcount != 1:
        raise AbortableError("a key was taken over by somebody else meanwhile", "database")


def _judged(batch: Sequence[Claims], owners: dict[bytes, Owner]) -> Claimed:
    verdicts: list[Verdict] = []
    behind: dict[int, Owner] = {}
    for claims in batch:
        for n, (offset, digest, fingerprint) in enumerate(
            zip(claims.offsets, claims.digests, claims.fingerprints, strict=True)
        ):
            owner = owners.get(digest) if digest else None
            verdict = rules.verdict(
                partition=claims.partition,
                offset=offset,
                settled_below=claims.frontier,
                keyed=bool(digest),
                fingerprint=fingerprint,
                owner=owner,
                redriven=claims.redriven.get(n),
            )
            if verdict is Verdict.FRESH and digest:
                owners[digest] = Owner(claims.partition, offset, fingerprint)
            if owner and verdict in (Verdict.DUPLICATE, Verdict.CONFLICT):
                behind[len(verdicts)] = owner
            verdicts.append(verdict)
    return Claimed("", verdicts, behind, {c.partition: Known(c.frontier, 0) for c in batch})
