"""Tells those who keep keys how far the log has come: they forget what no window needs."""

import time
from collections.abc import Mapping

from eos.consume.step import Consume
from eos.core.events import Emit, Lived
from eos.core.ports import NO_INBOXES, Clock, Inbox, Ledger

EVERY = 10.0


class Window:
    """Advances the ledger's window every few seconds.

    Args:
        ledger: Forgets whole generations.
        consume: Knows the log times of the frontiers.
        emit: Told how many generations live.
        clock: Tells the time.
        inboxes: The databases of those topics whose keys they may keep.
        seconds: The window; for those.
    """

    def __init__(
        self,
        ledger: Ledger,
        consume: Consume,
        emit: Emit,
        clock: Clock = time,
        inboxes: Mapping[str, Inbox] = NO_INBOXES,
        seconds: int = 0,
    ) -> None:
        self._inboxes = {topic: inbox for topic, inbox in inboxes.items() if inbox.joins}
        self._seconds = seconds
        self._ledger = ledger
        self._consume = consume
        self._emit = emit
        self._clock = clock
        self._due = clock.monotonic() + EVERY

    def advance(self) -> None:
        """Tell the ledger, if it is time.

        Raises:
            HungError: A topic was deleted and made anew: this process must be replaced.
        """
        if self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + EVERY
        self._consume.check_topics()
        for topic, times in self._consume.log_times().items():
            shard, partitions = self._consume.shard_of(topic)
            if inbox := self._inboxes.get(topic):
                if inbox.advance(shard, times, partitions, self._seconds):
                    self._due = 0.0  # there is more to forget: a part of it with each turn
            else:
                self._emit(Lived(topic, self._ledger.advance(shard, times, partitions)))
