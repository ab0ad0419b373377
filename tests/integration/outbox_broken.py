"""Broken relays, that the suites of the outbox must reject."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from eos.build import relays
from eos.core.outbox import Progress, Row
from eos.kafka.transactions import KafkaTransactions
from eos.outbox import ShardLine, relay
from eos.stores.sql.outbox import SqlOutbox, SqlRows

LOST_ANSWERS, HANGS = "lost answers", "hangs"
MARKS_FIRST, NO_POSITION = "marks first", "no position"
HANG_SECONDS = 6.0


class MarksFirst(SqlRows):
    """Deletes rows before they are published: at most once, what dies in between is lost."""

    def record(
        self, known: Progress, limit: int, *, published: bool
    ) -> tuple[Progress, Sequence[Row]]:
        known, rows = super().record(known, limit, published=published)
        with self._engine.begin() as db:
            self._delete(db, known.recorded)
        return known, rows


class NoPosition(ShardLine):
    """Trusts the database alone, as relays do that know no transactions of Kafka's."""

    def open(self) -> None:
        self._transactions.settle_unknown()
        self._known = self._rows.progress()
        self._published = False


class Deaf(KafkaTransactions):
    """No relay is broken here: of three commits one's answer is lost, and one's request."""

    _commits = 0

    def commit(self) -> bool:
        self._commits += 1
        if self._commits % 3 == 0:
            super().commit()
        elif self._commits % 3 == 1:
            self.abort()
        else:
            return super().commit()
        return False


class Hanging(KafkaTransactions):
    """No relay is broken here: the client, which does not come back from its calls for a while."""

    _calls = 0

    def send_offsets(self, *given: Any) -> None:
        self._calls += 1
        if self._calls % 5 == 3:
            time.sleep(HANG_SECONDS)
        super().send_offsets(*given)


def break_relay(how: str) -> None:
    """Break the relay that is about to be made."""
    broken: dict[str, Callable[[], Any]] = {
        MARKS_FIRST: lambda: _rows(MarksFirst),
        LOST_ANSWERS: lambda: setattr(relays, "KafkaTransactions", Deaf),
        NO_POSITION: lambda: setattr(relays, "ShardLine", NoPosition),
        HANGS: _hang,
    }
    broken[how]()


def _hang() -> None:
    setattr(relays, "KafkaTransactions", Hanging)  # noqa: B010 as the others
    relay.OVERDUE_SECONDS = HANG_SECONDS / 4


def _rows(kind: type[SqlRows]) -> None:
    def shard(self: Any, number: int) -> SqlRows:
        return kind(self._engine, number, self._keep)

    SqlOutbox.shard = shard  # type: ignore[method-assign]
