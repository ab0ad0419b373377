"""`eos.Inbox`: a record's effect in a SQL database happens once, in a loop that somebody has."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from eos.claim.digest import Digest, fingerprint
from eos.claim.keys import Identify
from eos.core.errors import AbortableError, ConfigError, EosError, FatalError
from eos.core.keys import sender
from eos.core.letters import redriven
from eos.core.ports import Partition
from eos.core.record import Position, Record
from eos.core.settings import KeyOf, duration
from eos.doors.inbox.reading import as_record
from eos.doors.inbox.trail import Trail

PRUNE_EVERY = 500
_TRIES = 100


class ConflictError(EosError):
    """A record has the idempotency key of another one, and another payload.

    The frontier has moved behind it: commit the transaction, and the record is done with (put it
    aside first); roll it back, and it comes again.

    Attributes:
        position: Where the record stands.
        owner: Where the record stands that had the key first.
    """

    def __init__(self, position: Position, owner: Position) -> None:
        self.position, self.owner = position, owner
        super().__init__(
            f"the record at {position} has the idempotency key of the one at {owner}, and another "
            "payload: put it aside, or take conflict='handle'"
        )


class Inbox:
    """Settles records in the database transactions that hold their effects.

    The database's row, and not Kafka's offset, says how far a partition has come. Records of a
    partition are settled in the order of the log; partitions do not know of each other. One
    instance serves one consumer; threads may share it if each partition stays in one of them.

    Args:
        database: An engine of SQLAlchemy, or a URL: `postgresql://…`, `sqlite:///…`. It is used to
            read the rows when partitions are assigned; what is settled goes through the
            connections that `settle` is given.
        group: The consumer group.
        namespace: Separates applications that share a database; default: the group.
        key: Reads a record's idempotency key; then copies at other positions are suppressed, too.
            None: redeliveries only.
        window: For how long a key is remembered, in log time; default 24 hours.
        conflict: What to do with a record whose key another payload had: `fail` raises
            `ConflictError`, `handle` lets it pass.
        secret: Keys the digests of idempotency keys; derived from the namespace if empty.
        start: Where a partition begins that has neither a row nor a committed offset. A client
            does not tell its `auto.offset.reset`.
        kafka: How to reach the brokers, as for a client (`bootstrap.servers`, …). With it rows are
            by topic id, so that a topic made anew starts clean; without it by name.

    Raises:
        ConfigError: With what is wrong.

    Example:
        ```python
        inbox = eos.Inbox(engine, group="payments")
        consumer.subscribe(["orders"], on_assign=inbox.seek)
        while True:
            if (message := consumer.poll(1)) is not None and not message.error():
                with engine.begin() as db:
                    if inbox.settle(db, message):
                        db.execute(…)
        ```
    """

    def __init__(
        self,
        database: Any,
        *,
        group: str,
        namespace: str = "",
        key: KeyOf | None = None,
        window: str | float = "24h",
        conflict: Literal["fail", "handle"] = "fail",
        secret: str = "",
        start: Literal["earliest", "latest"] = "earliest",
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        # Here, because they load the servers' libraries: see App.work.
        from eos.doors.inbox.seeking import Rows  # noqa: PLC0415
        from eos.stores.sql.connections import attached, engine_of  # noqa: PLC0415
        from eos.stores.sql.frontiers import Entry, Frontiers, Lane  # noqa: PLC0415

        if start not in {"earliest", "latest"} or conflict not in {"fail", "handle"} or not group:
            raise ConfigError(
                ["an Inbox takes a group, start=earliest or latest, conflict=fail or handle"]
            )
        self._namespace = namespace or group
        self._attached, self._lane, self._entry = attached, Lane, Entry
        self._frontiers = Frontiers(self._namespace, group)
        self._rows = Rows(engine_of(database), self._frontiers, start=start, kafka=kafka)
        self._trails: dict[Partition, Trail] = {}
        self._digest = Digest((secret or f"eos derived secret of {self._namespace}").encode())
        self._group = group
        identify = Identify(key, self._digest, by_partition=False, group=group) if key else None
        self._name = identify.name if identify else None
        self._window = int(duration(window))
        self._conflict = conflict
        self._until_prune = PRUNE_EVERY

    def seek(
        self,
        consumer: Any,
        partitions: Sequence[Any] | None = None,
        *,
        accept_rewind: bool = False,
    ) -> None:
        """Have partitions read on from their rows; make the rows that are missing.

        Both ways work: `consumer.subscribe(topics, on_assign=inbox.seek)`, and a call by hand,
        for instance after an `AbortableError`. What the loop has fetched before is to be dropped.

        Args:
            consumer: A `confluent_kafka.Consumer`.
            partitions: What the group is assigning, where it calls this itself; None, in a call
                by hand: all that is assigned.
            accept_rewind: Begin at a row that went back, as after a database was restored from an
                older backup: what that has lost is handled again.

        Raises:
            FatalError: A row went back, or is where the log is not; nothing can be settled.
            ConfigError: The tables are missing, or old.
            RetriableError: A server is away. The partitions are assigned, but nothing of them can
                be settled until another `seek` succeeds.
        """
        wanted = self._rows.wanted(consumer, partitions)
        for partition in wanted:
            self._trails.pop(partition, None)
        frontiers = self._rows.begin(
            consumer, wanted, being_assigned=partitions is not None, accept_rewind=accept_rewind
        )
        for partition, frontier in frontiers.items():
            self._trails[partition] = Trail(frontier)

    def settle(self, db: Any, record: Any) -> bool:
        """Settle a record in a transaction of the caller's, who then does its effect there.

        Args:
            db: SQLAlchemy's connection or session; Django's `connection`; a connection or cursor
                of psycopg, psycopg2 or sqlite3. In a transaction, which the caller ends.
            record: A `confluent_kafka.Message`, or what has `topic`, `partition` and `offset`;
                for `key=` also `key`, `value`, `headers` and `timestamp`.

        Returns:
            True if its effect is to be done in this transaction; False if it is settled already,
            or is a copy of one that is. Commit in both cases.

        Raises:
            AbortableError: A record before it is not settled, because its transaction was rolled
                back: `seek`, and go on with what comes then.
            RetriableError: The database is away or busy, or undid the transaction because of
                another one: roll it back, and do it again.
            ConflictError: Its key was seen with another payload.
            FatalError: Going on could lose a record.
            ConfigError: The connection cannot be used so; or tables are missing.
        """
        read = as_record(record)
        trail = self._trails.get((read.topic, read.partition))
        if trail is None:
            raise AbortableError(
                f"{read.topic}[{read.partition}] was not begun at its row: "
                "consumer.subscribe(…, on_assign=inbox.seek), or call inbox.seek(consumer)",
                cause="seek",
            )
        read.topic_id = self._rows.ids[read.topic]
        trail.log_time = max(trail.log_time, min(max(read.timestamp, 0) // 1000, int(time.time())))
        attached = self._attached(db)
        return self._advance(attached, read, trail) and self._owns(attached, read, trail)

    async def settle_async(self, db: Any, record: Any) -> bool:
        """As `settle`, with SQLAlchemy's `AsyncConnection` or `AsyncSession`."""
        if not hasattr(db, "run_sync"):
            raise ConfigError(
                ["settle_async() takes an AsyncConnection or AsyncSession of SQLAlchemy's"]
            )
        return bool(await db.run_sync(lambda below: self.settle(below, record)))

    def _advance(self, db: Any, record: Record, trail: Trail) -> bool:
        """Move the frontier behind a record; False if it is there already."""
        lane, offset = self._lane(record.topic_id, record.partition), record.offset
        if offset >= trail.next and self._frontiers.advance(
            db, lane, trail.next, offset, trail.log_time
        ):
            trail.settled(offset)
            return True
        for _ in range(_TRIES):  # where the lock does not hold the row, it may move in between
            frontier = _checked(self._frontiers.locked(db, lane), record, trail)
            if frontier > offset:
                if frontier > trail.next:
                    trail.passed(frontier)
                return False
            if self._frontiers.advance(db, lane, frontier, offset, trail.log_time):
                if frontier < trail.next:
                    trail.back_to(frontier)
                elif frontier > trail.next:
                    trail.passed(frontier)
                trail.settled(offset)
                return True
        raise AbortableError(f"the frontier of {record!r} does not stand still", cause="seek")

    def _owns(self, db: Any, record: Record, trail: Trail) -> bool:
        """Tell whether no record at another position has the same key."""
        key = self._name(record) if self._name else None
        if key is None:
            return True
        entry = self._entry(
            self._digest(record.idempotency_key.encode("utf-8", "surrogateescape")),
            record.position,
            fingerprint(record.value),
            trail.log_time,
            sender(record),
            redriven(record.headers, record.topic_id, self._group),
        )
        self._prune(db, record.topic_id)
        found = self._frontiers.own(db, entry)
        if found is None or found[0] == entry.position:
            return True
        owner, payload = found
        if payload == entry.fingerprint:
            self._frontiers.note(db, entry, owner, "duplicate")
            return False
        if self._conflict == "fail":
            self._frontiers.note(db, entry, owner, "conflict")
            raise ConflictError(entry.position, owner)
        return True

    def _prune(self, db: Any, topic_id: str) -> None:
        self._until_prune -= 1
        if self._until_prune <= 0:
            more = self._frontiers.prune(db, topic_id, self._window)
            self._until_prune = PRUNE_EVERY // 10 if more else PRUNE_EVERY


def _checked(frontier: int | None, record: Record, trail: Trail) -> int:
    """See that the row and what we believe of it agree, but for what was rolled back."""
    if frontier is None:
        raise AbortableError(
            f"the row of {record.topic}[{record.partition}] is gone: inbox.seek(consumer)",
            cause="seek",
        )
    if frontier < trail.floor:
        raise FatalError(
            f"the frontier of {record.topic}[{record.partition}] went back from {trail.floor} to "
            f"{frontier}: was the database restored? See inbox.seek(…, accept_rewind=True)"
        )
    if record.offset < frontier and trail.jumped_over(record.offset):
        raise FatalError(
            f"{record!r} came after records behind it had been settled: settle the records of a "
            "partition in order, in one thread"
        )
    if frontier < trail.next and record.offset > (undone := trail.first_undone(frontier)):
        raise AbortableError(
            f"{record.topic}[{record.partition}]@{undone} is not settled, its transaction was "
            f"rolled back, and {record.offset} would pass over it: inbox.seek(consumer)",
            cause="transaction",
        )
    return frontier
