"""Frontiers, key owners and audit, in the database where the effects are.

Every call is a statement in a transaction that somebody else opened and will end. What two
transactions do to one partition at the same time, the lock on its row puts in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from eos.core.record import Position, Shard
from eos.stores.sql.connections import Attached
from eos.stores.sql.errors import translated
from eos.stores.sql.ledger_tables import shards
from eos.stores.sql.tables import frontiers, inbox_keys, suppressed

PRUNED_AT_ONCE = 200
_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_KEY_COLUMNS = tuple(inbox_keys.primary_key.columns)


class Lane(NamedTuple):
    """A partition of a topic, as its row names it."""

    topic_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A record's idempotency key, as it is kept.

    Attributes:
        digest: Keyed digest of the key.
        position: Where the record stands.
        fingerprint: Of its payload.
        log_time: Its own time stamp, in seconds.
        source: Who sent it, if it says so.
        redriven: Where it was dead-lettered, if it says so (`eos.core.rules.verdict`).
    """

    digest: bytes
    position: Position
    fingerprint: int
    log_time: int
    source: str | None = None
    redriven: Position | None = None


class Frontiers:
    """The rows of one group.

    Args:
        namespace: Separates applications that share a database.
        group: The consumer group.
    """

    def __init__(self, namespace: str, group: str) -> None:
        self._whose = {"_namespace": namespace, "_group": group}

    def advance(self, db: Attached, lane: Lane, known: int, offset: int, log_time: int) -> bool:
        """Move a frontier from where it is known to be to just behind a record.

        Returns:
            False if it was not there: nothing is changed then.
        """
        values = {**self._at(lane), "_known": known, "_next": offset + 1, "_time": log_time}
        return db.run(_ADVANCE, values).changed == 1

    def locked(self, db: Attached, lane: Lane) -> int | None:
        """Read a frontier, and hold its row until the transaction ends; None without a row."""
        rows = db.run(_LOCKED, self._at(lane)).rows
        return rows[0][0] if rows else None

    def own(self, db: Attached, entry: Entry) -> tuple[Position, int] | None:
        """Make this position the owner of its key, unless there is one.

        One that is the dead letter of this very record gives the key to it.

        Returns:
            The owner there is, and the fingerprint of its payload; None if it is this one now.
        """
        at = entry.position
        values = {
            **self._whose,
            "_digest": entry.digest,
            "_topic_id": at.topic_id,
            "_partition": at.partition,
            "_offset": at.offset,
            "_fingerprint": entry.fingerprint,
            "_time": entry.log_time,
        }
        if db.run(_OWN[db.dialect], values).rows:
            return None
        if entry.redriven is not None:
            old = {"_old_partition": entry.redriven.partition, "_old_offset": entry.redriven.offset}
            if db.run(_TAKE_OVER, {**values, **old}).changed:
                return None
        key = {**self._whose, "_topic_id": at.topic_id, "_digest": entry.digest}
        rows = db.run(_OWNER, key).rows
        if not rows:  # it was pruned in between
            return None
        partition, offset, fingerprint = rows[0]
        return Position(at.topic_id, partition, offset), fingerprint

    def note(self, db: Attached, entry: Entry, owner: Position, verdict: str) -> None:
        """Write down that a record was suppressed."""
        at = entry.position
        values = {
            **self._whose,
            "_digest": entry.digest,
            "_topic_id": at.topic_id,
            "_partition": at.partition,
            "_offset": at.offset,
            "_owner_topic_id": owner.topic_id,
            "_owner_partition": owner.partition,
            "_owner_offset": owner.offset,
            "_verdict": verdict,
            "_time": entry.log_time,
            "_source": entry.source,
        }
        db.run(_NOTE, values)

    def prune(self, db: Attached, topic_id: str, window: int) -> int:
        """Forget some keys of a topic: those older by the window than all its frontiers.

        Returns:
            How many: less than `PRUNED_AT_ONCE` if there are no more.
        """
        bounds = {"_window": window, "_limit": PRUNED_AT_ONCE}
        return db.run(PRUNE, {**self._whose, "_topic_id": topic_id, **bounds}).changed

    def read(self, engine: Engine, topic: str) -> dict[Lane, int]:
        """Read all committed frontiers of a topic of this name, whatever id they are under."""
        with translated(), engine.connect() as connection:
            rows = connection.execute(_READ, {**self._whose, "_topic": topic}).all()
        return {Lane(row[0], row[1]): row[2] for row in rows}

    def open(self, engine: Engine, topic: str, starts: Mapping[Lane, int]) -> dict[Lane, int]:
        """Make the rows that are missing.

        Args:
            engine: The database.
            topic: The topic's name.
            starts: Where each partition begins that has no row yet.

        Returns:
            The frontiers that count: where somebody else was quicker, his.
        """
        rows = [{**self._at(lane), "_topic": topic, "_next": at} for lane, at in starts.items()]
        with translated(), engine.begin() as connection:
            if rows:
                open_shard(connection, self._shard(rows[0]["_topic_id"]))
                connection.execute(_OPEN[connection.dialect.name], rows)
        return self.read(engine, topic)

    def catch_up(self, engine: Engine, ended: Mapping[Lane, int]) -> None:
        """Note the log time, in seconds, of partitions that were settled to their end."""
        with translated(), engine.begin() as connection:
            for lane, seconds in ended.items():
                connection.execute(_CAUGHT_UP, {**self._at(lane), "_time": seconds})

    def rename(self, engine: Engine, old: str, new: str) -> None:
        """Put rows that stand under a topic's name under its id."""
        with translated(), engine.begin() as connection:
            for statement in _RENAMES:
                connection.execute(statement, {**self._whose, "_old": old, "_new": new})

    def _shard(self, topic_id: str) -> Shard:
        return Shard(self._whose["_namespace"], self._whose["_group"], topic_id)

    def _at(self, lane: Lane) -> dict[str, Any]:
        return {**self._whose, "_topic_id": lane.topic_id, "_partition": lane.partition}


def open_shard(db: Connection, shard: Shard) -> None:
    """Make the row that keys belong to, if it is missing."""
    row = {
        "namespace": shard.namespace,
        "consumer_group": shard.group,
        "topic_id": shard.topic_id,
    }
    db.execute(_INSERT[db.dialect.name](shards).on_conflict_do_nothing(), row)


def _ours(table: Any) -> Sequence[Any]:
    return (
        table.c.namespace == bindparam("_namespace"),
        table.c.consumer_group == bindparam("_group"),
    )


_LANE = (
    *_ours(frontiers),
    frontiers.c.topic_id == bindparam("_topic_id"),
    frontiers.c.partition == bindparam("_partition"),
)
_ADVANCE = (
    update(frontiers)
    .where(*_LANE, frontiers.c.next_offset == bindparam("_known"))
    .values(
        next_offset=bindparam("_next"),
        log_time=case(
            (frontiers.c.log_time < bindparam("_time"), bindparam("_time")),
            else_=frontiers.c.log_time,
        ),
        updated_at=func.now(),
    )
)
_LOCKED = select(frontiers.c.next_offset).where(*_LANE).with_for_update()
_CAUGHT_UP = (
    update(frontiers)
    .where(*_LANE, frontiers.c.log_time < bindparam("_time"))
    .values(log_time=bindparam("_time"))
)
_READ = select(frontiers.c.topic_id, frontiers.c.partition, frontiers.c.next_offset).where(
    *_ours(frontiers), frontiers.c.topic == bindparam("_topic")
)
_other = shards.alias()
_RENAMES = [
    update(frontiers)
    .where(*_ours(frontiers), frontiers.c.topic_id == bindparam("_old"))
    .values(topic_id=bindparam("_new")),
    update(shards)
    .where(
        *_ours(shards),
        shards.c.topic_id == bindparam("_old"),
        ~exists().where(*_ours(_other), _other.c.topic_id == bindparam("_new")),
    )
    .values(topic_id=bindparam("_new")),
]
_SHARD = (
    select(shards.c.id)
    .where(*_ours(shards), shards.c.topic_id == bindparam("_topic_id"))
    .scalar_subquery()
)
_OPEN: dict[str, Executable] = {
    name: make(frontiers)
    .values(
        namespace=bindparam("_namespace"),
        consumer_group=bindparam("_group"),
        topic_id=bindparam("_topic_id"),
        partition=bindparam("_partition"),
        topic=bindparam("_topic"),
        next_offset=bindparam("_next"),
    )
    .on_conflict_do_nothing()
    for name, make in _INSERT.items()
}
# A conflict of keys must not end a transaction of PostgreSQL's.
_OWN: dict[str, Executable] = {
    name: make(inbox_keys)
    .values(
        shard=_SHARD,
        digest=bindparam("_digest"),
        partition=bindparam("_partition"),
        record_offset=bindparam("_offset"),
        fingerprint=bindparam("_fingerprint"),
        log_time=bindparam("_time"),
    )
    .on_conflict_do_nothing()
    .returning(inbox_keys.c.partition)
    for name, make in _INSERT.items()
}
_OWNER = select(inbox_keys.c.partition, inbox_keys.c.record_offset, inbox_keys.c.fingerprint).where(
    inbox_keys.c.shard == _SHARD,
    inbox_keys.c.digest == bindparam("_digest"),
)
# Of two that take over one key the second waits for the first, and finds that it is another's.
_TAKE_OVER = (
    update(inbox_keys)
    .where(
        inbox_keys.c.shard == _SHARD,
        inbox_keys.c.digest == bindparam("_digest"),
        inbox_keys.c.partition == bindparam("_old_partition"),
        inbox_keys.c.record_offset == bindparam("_old_offset"),
    )
    .values(
        partition=bindparam("_partition"),
        record_offset=bindparam("_offset"),
        fingerprint=bindparam("_fingerprint"),
        log_time=bindparam("_time"),
    )
)
_NOTE = insert(suppressed).values(
    namespace=bindparam("_namespace"),
    consumer_group=bindparam("_group"),
    topic_id=bindparam("_topic_id"),
    partition=bindparam("_partition"),
    record_offset=bindparam("_offset"),
    digest=bindparam("_digest"),
    owner_topic_id=bindparam("_owner_topic_id"),
    owner_partition=bindparam("_owner_partition"),
    owner_offset=bindparam("_owner_offset"),
    verdict=bindparam("_verdict"),
    log_time=bindparam("_time"),
    source=bindparam("_source"),
)
_COME_TO = (
    select(func.min(frontiers.c.log_time))
    .where(*_ours(frontiers), frontiers.c.topic_id == bindparam("_topic_id"))
    .scalar_subquery()
)
# Rows that somebody else is pruning are left to him: waiting for them could deadlock.
PRUNE = delete(inbox_keys).where(
    tuple_(*_KEY_COLUMNS).in_(
        select(*_KEY_COLUMNS)
        .where(
            inbox_keys.c.shard == _SHARD,
            inbox_keys.c.log_time < _COME_TO - bindparam("_window"),
        )
        .order_by(inbox_keys.c.log_time)
        .limit(bindparam("_limit"))
        .with_for_update(skip_locked=True)
    )
)
