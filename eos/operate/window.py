"""Tells the ledger how far the log has come, so that it can forget what no window needs."""

import time

from eos.consume.step import Consume
from eos.core.events import Emit, Lived
from eos.core.ports import Clock, Ledger

EVERY = 10.0


class Window:
    """Advances the ledger's window every few seconds.

    Args:
        ledger: Forgets whole generations.
        consume: Knows the log times of the frontiers.
        emit: Told how many generations live.
        clock: Tells the time.
    """

    def __init__(
        self,
        ledger: Ledger,
        consume: Consume,
        emit: Emit,
        clock: Clock = time,
    ) -> None:
        self._ledger = ledger
        self._consume = consume
        self._emit = emit
        self._clock = clock
        self._due = clock.monotonic() + EVERY

    def advance(self) -> None:
        """Tell the ledger, if it is time."""
        if self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + EVERY
        for topic, times in self._consume.log_times().items():
            shard, partitions = self._consume.shard_of(topic)
            self._emit(Lived(topic, self._ledger.advance(shard, times, partitions)))
