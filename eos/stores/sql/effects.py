"""One transaction of a database: effects, frontiers, keys and audit."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, NestedTransaction, Table, func, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from eos.core.errors import AbortableError, EosError, FatalError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Claimed, Claims, Suppressed
from eos.core.record import Shard
from eos.stores.sql.errors import has_failed, translate, translated
from eos.stores.sql.keys import claim, note
from eos.stores.sql.tables import frontiers

_WHOLE, _ONE = "eos_whole", "eos_one"
# Whoever holds a lock may be stopped, and we have a group to stay in meanwhile.
_BE_PATIENT = text(
    "SELECT found.before, set_config('lock_timeout', '1s', true)"
    " FROM (SELECT current_setting('lock_timeout') AS before OFFSET 0) AS found"
)
_AS_BEFORE = text("SELECT set_config('lock_timeout', :before, true)")


class SwallowedError(EosError):
    """A handler's own failure: it went on where PostgreSQL does not."""

    def __init__(self) -> None:
        super().__init__(
            "the handler went on after an error of the database, which undoes all that the "
            "transaction did: put what may fail into `with db.begin_nested():`"
        )


class SqlEffects:
    """Implements `eos.core.ports.Effects`: one transaction on one connection, of one topic."""

    def __init__(self, connection: Connection) -> None:
        self.db = connection
        self._times: dict[int, int] = {}
        self._known: list[NestedTransaction] = []

    def lock(self, shard: Shard, partition: int, start: int) -> bool:
        """Hold a row until the end; on SQLite the whole database is held since the beginning.

        Nobody is waited for: who opened the partition has waited, and a zombie shall not.
        """
        row = (
            select(frontiers.c.next_offset, frontiers.c.log_time)
            .where(*of_shard(frontiers, shard), frontiers.c.partition == partition)
            .with_for_update(nowait=True)
        )
        with translated():
            found = self.db.execute(row).one_or_none()
        if found is None:
            return False
        self._times[partition] = found.log_time
        return bool(found.next_offset == start)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed:
        """Claim keys in this transaction; waits a while for another one that does."""
        with translated(), patient(self.db):
            return claim(self.db, shard, batch, self._times, int(time.time()))

    def note(self, shard: Shard, suppressed: Sequence[Suppressed]) -> None:
        """Write down what is settled without being handled."""
        with translated():
            note(self.db, shard, suppressed)

    def advance(self, shard: Shard, partition: int, start: int, frontier: Frontier) -> bool:
        """Move a row on by compare-and-set."""
        move = (
            update(frontiers)
            .where(
                *of_shard(frontiers, shard),
                frontiers.c.partition == partition,
                frontiers.c.next_offset == start,
            )
            .values(
                next_offset=frontier.offset,
                attempts=frontier.attempts,
                log_time=self._times[partition],
                updated_at=func.now(),
            )
        )
        with translated():
            return self.db.execute(move).rowcount == 1

    def guard(self) -> None:
        """Set a savepoint: what ends the transaction takes it with it, and so it shows."""
        with translated():
            self._set(_WHOLE)

    def undo(self, error: Exception) -> None:
        """Go back to it."""
        self._back_to(_WHOLE, error)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is done inside, if it raises."""
        with translated():
            self._set(_ONE)
        try:
            yield
            self._release(_ONE)
        except Exception as error:
            self._back_to(_ONE, error)
            if has_failed(error):
                raise SwallowedError from error
            raise

    def check(self) -> None:
        """See that the transaction is still the one that was begun, and can commit."""
        try:
            self._release(_WHOLE)
        except SQLAlchemyError as error:
            raise (SwallowedError() if has_failed(error) else _ended(error)) from error

    def commit(self) -> None:
        """Commit, and give the connection back."""
        try:
            with translated():
                self.db.commit()
        finally:
            self._close()

    def rollback(self) -> None:
        """Roll back, and give the connection back."""
        self._close()

    def _back_to(self, savepoint: str, error: Exception) -> None:
        _see_if_lost(error)
        self._forget()
        try:
            self._say(f"ROLLBACK TO SAVEPOINT {savepoint}")
        except SQLAlchemyError as gone:
            raise _ended(gone) from gone

    def _set(self, savepoint: str) -> None:
        self._say(f"SAVEPOINT {savepoint}")
        # And one that SQLAlchemy knows of: a Session that joins us keeps to its own then, and
        # does not roll all of it back where a flush fails.
        self._known.append(self.db.begin_nested())

    def _release(self, savepoint: str) -> None:
        if self._known:
            self._known[-1].commit()  # if it fails, it is still to be rolled back
            self._known.pop()
        self._say(f"RELEASE SAVEPOINT {savepoint}")

    def _forget(self) -> None:
        """Let SQLAlchemy know no more of what it did not release."""
        point = self._known.pop() if self._known else None
        if point is not None and self.db.get_nested_transaction() is point:
            with suppress(SQLAlchemyError):
                point.rollback()

    def _say(self, statement: str) -> None:
        # By hand: what SQLAlchemy calls a nested transaction cannot go back once it failed to end.
        self.db.exec_driver_sql(statement)

    def _close(self) -> None:
        with suppress(SQLAlchemyError):
            self.db.close()  # rolls back what is left


def _see_if_lost(error: Exception) -> None:
    """Raise, if the transaction cannot go on: because of another one, or of the server."""
    # What the handler asked of eos, `outbox.add` say, has translated it already.
    told = error.__cause__ if isinstance(error, EosError) else error
    if not isinstance(told, DBAPIError) or has_failed(told):
        return
    if isinstance(found := translate(told), RetriableError):
        raise AbortableError(str(found), "database") from error


def _ended(error: SQLAlchemyError) -> FatalError:
    _see_if_lost(error)
    return FatalError(
        "the handler committed, or rolled back, the transaction that it was given: its effects "
        "would be settled without their frontier. Leave that to eos"
    )


def of_shard(table: Table, shard: Shard) -> tuple[Any, ...]:
    """Give the conditions under which a row is of a shard."""
    return (
        table.c.namespace == shard.namespace,
        table.c.consumer_group == shard.group,
        table.c.topic_id == shard.topic_id,
    )


@contextmanager
def patient(connection: Connection) -> Iterator[None]:
    """Limit how long locks are waited for: for our own statements, not for the handler's."""
    if connection.dialect.name != "postgresql":
        yield
        return
    before = connection.execute(_BE_PATIENT).scalar()
    yield
    if connection.in_transaction():  # else it was for this one alone
        connection.execute(_AS_BEFORE, {"before": before})
