"""Settles what was handled: begin, produce, send offsets, confirm, commit.

The order is the promise. No handler runs inside an open transaction. The ledger is asked once
more after the offsets were sent: a seal that changed since the claim means that claims may have
been lost, and that somebody else may have handled a copy.
"""

import time
from collections.abc import Callable

from eos.consume.step import Consume, Lane
from eos.core.errors import AbortableError, EosError, RetriableError
from eos.core.events import Aborted, Committed, Committing, Emit
from eos.core.ports import Partition, Transactions
from eos.handle.step import Handled


class Settle:
    """The fourth step of the line.

    Args:
        transactions: The transactional producer.
        consume: Whose frontiers are moved on.
        confirm: Sees that the seals of the claims still hold.
        interval: At most this many seconds are handled before they are settled.
        limit: At most this many records.
        emit: Told of outcomes.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        transactions: Transactions,
        consume: Consume,
        confirm: Callable[[], None],
        interval: float,
        limit: int,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transactions = transactions
        self._consume = consume
        self._confirm = confirm
        self._interval = interval
        self._limit = limit
        self._emit = emit
        self._clock = clock
        self._pending: list[Handled] = []
        self._membership: object = None
        self._records = 0
        self._due = 0.0

    def prepare(self) -> None:
        """End what a predecessor left open, before anybody waits for it."""
        self._transactions.prepare()

    def __call__(self, handled: list[Handled]) -> bool:
        """Take what was handled, and settle if it is time.

        Returns:
            True if something was settled.
        """
        if handled and not self._pending:
            self._membership = self._consume.membership
            self._due = self._clock() + self._interval
        self._pending += handled
        self._records += sum(h.slice.read for h in handled)
        if self._pending and (self._clock() >= self._due or self._records >= self._limit):
            self.settle()
            return True
        return False

    def settle(self) -> None:
        """Settle what is pending, in one transaction.

        Raises:
            AbortableError: It was not settled: rewind.
            RetriableError: A server is away: rewind, and wait.
            FencedError: Another process has this transactional id.
        """
        if not self._pending:
            return
        began = self._clock()
        outputs = [output for handled in self._pending for output in handled.outputs]
        lanes = {h.slice.lane.partition: h for h in self._pending}
        offsets = {partition: h.slice.end for partition, h in lanes.items()}
        self._emit(Committing(self._records))

        self._transactions.begin()
        for output in outputs:
            self._transactions.produce(*output)
        self._transactions.send_offsets(offsets, self._membership)
        self._confirm()
        committed = self._transactions.commit()

        if not committed:
            self._resolve(offsets)
        for handled in lanes.values():
            self._move(handled.slice.lane, handled)
        self._emit(
            Committed(self._records, len(outputs), self._clock() - began, resolved=not committed)
        )
        self._clear()

    def drop(self, error: EosError) -> None:
        """Give up what is pending; it will be read again."""
        self._transactions.abort()
        cause = error.cause if isinstance(error, AbortableError) else "server_away"
        if self._records or cause != "rebalance":  # one without work is no news
            self._emit(Aborted(cause, self._records, str(error)))
        self._clear()

    def close(self) -> None:
        """Give the producer up."""
        self._transactions.close()

    def _resolve(self, offsets: dict[Partition, int]) -> None:
        """Find out what became of a commit that nobody answered.

        A new producer under the same id makes the outcome final; then the committed offsets,
        which were in the transaction, say what it is.

        Raises:
            AbortableError: It was not committed, or the partitions are somebody else's by now:
                rewind either way, the frontiers in Kafka are the truth.
        """
        self._transactions.settle_unknown()
        try:
            found = self._consume.frontiers(list(offsets))
        except RetriableError as error:
            raise AbortableError(f"outcome unknown: {error}", "unknown_outcome") from error
        if found != offsets:
            raise AbortableError("the commit did not take place", "unknown_outcome")

    def _move(self, lane: Lane, handled: Handled) -> None:
        records = handled.slice.records
        at = records[-1].timestamp // 1000 if records else lane.time
        self._consume.settled(lane, handled.slice.end, at)

    def _clear(self) -> None:
        self._pending = []
        self._records = 0
