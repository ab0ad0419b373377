"""Counts what waits in an outbox, beside the relay: a database that hangs must not stop that."""

import threading
from collections.abc import Callable

from eos.core.errors import EosError
from eos.core.events import OutboxCounted
from eos.core.ports import Backlog

COUNT_SECONDS = 5.0


class Counting:
    """Counts from time to time, for as long as it is to; one relay of an outbox does.

    Args:
        backlog: Counts.
        tell: Told what was counted, in another thread; and zeros when that ends, or two relays
            would tell of the same rows.
    """

    def __init__(
        self, backlog: Callable[[], Backlog], tell: Callable[[OutboxCounted], None]
    ) -> None:
        self._backlog = backlog
        self._tell = tell
        self._wanted = False
        self._told = False
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="outbox-count", daemon=True)

    def start(self) -> None:
        """Begin, as soon as it is wanted."""
        self._thread.start()

    def want(self, wanted: bool) -> None:
        """Say whether this relay counts."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    def stop(self) -> None:
        """End it; what hangs in the database is not waited for."""
        self._stopping = True
        self.want(wanted=False)
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def _run(self) -> None:
        while not self._stopping:
            if self._wanted:
                self._count()
            self._changed.wait(COUNT_SECONDS if self._wanted else None)
            self._changed.clear()
            if not self._wanted and self._told:
                self._told = False
                self._tell(OutboxCounted(0, 0.0, 0, 0))

    def _count(self) -> None:
        try:
            found = self._backlog()
        except EosError:
            return  # the shards say so, too
        self._told = True
        self._tell(OutboxCounted(found.rows, found.oldest, found.scheduled, found.dead))
