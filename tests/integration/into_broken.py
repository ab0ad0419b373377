"""Broken inboxes, that the suites of `into=` must reject."""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import text

from eos.core.frontier import Frontier
from eos.core.ports import Effects, Inbox, Ledger, Ports
from eos.core.record import Shard
from tests.integration.broken import Confirming, Unaudited

TWO_TRANSACTIONS, NO_COMPARE, NO_CONFIRM = "two transactions", "no compare", "no confirm"
NO_AUDIT = "no audit"


class _Wrapped:
    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._effects, name)


class TwoTransactions(_Wrapped):
    """Commits the effects, and then moves the frontiers on: what everybody builds first."""

    _committed = False

    def advance(self, shard: Shard, partition: int, start: int, frontier: Frontier) -> bool:
        if not self._committed:
            self._effects.db.commit()
            self._committed = True
        return self._effects.advance(shard, partition, start, frontier)


class NoCompare(_Wrapped):
    """Moves a frontier to where it wants it, wherever it is by now."""

    def lock(self, shard: Shard, partition: int, start: int) -> bool:
        self._effects.lock(shard, partition, start)
        return True

    def advance(self, shard: Shard, partition: int, _start: int, frontier: Frontier) -> bool:
        row = text(
            "SELECT next_offset FROM eos_frontiers WHERE consumer_group = :group "
            "AND topic_id = :topic_id AND partition = :partition"
        )
        about = {"group": shard.group, "topic_id": shard.topic_id, "partition": partition}
        found = self._effects.db.execute(row, about).scalar()
        return self._effects.advance(shard, partition, found, frontier)


class _Inbox:
    def __init__(self, inbox: Inbox, wrap: Callable[[Effects], object]) -> None:
        self._inbox, self._wrap = inbox, wrap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)

    def begin(self) -> object:
        return self._wrap(self._inbox.begin())


def break_inbox(kind: str, ports: Ports) -> None:
    """Break what settles effects in a database."""
    if kind == NO_CONFIRM:
        ports.ledger = cast("Ledger", Confirming(ports.ledger))
        return
    if kind == NO_AUDIT:
        ports.ledger = cast("Ledger", Unaudited(ports.ledger))
        return
    wrap = {TWO_TRANSACTIONS: TwoTransactions, NO_COMPARE: NoCompare}[kind]
    made = ports.inbox
    ports.inbox = lambda into: cast("Inbox", _Inbox(made(into), wrap))
