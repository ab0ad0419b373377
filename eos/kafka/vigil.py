"""Keeps a member in its group while its line is busy for longer than the group would wait.

A member that does not poll for `max.poll.interval.ms` is thrown out: its partitions go to somebody
else, who handles the same records, and is thrown out in turn. Heartbeats do not help: the client
itself watches the polls.

A slow handler, told in order:

1. The line polls, gets records, and calls a handler that takes minutes.
2. A third of the interval later the vigil takes the reader's lock, pauses what flows, and polls:
   the client sees a poll, and nothing can come out of it but news of the group.
3. It goes on so, every second. A rebalance is served meanwhile, so that the group need not wait.
   It only changes the reader's books: what was handled belongs to the line's thread, and is not
   settled from here. The new owner is told by the ledger's marks what may have begun.
4. The handler returns. The line settles what it handled, under the membership that it pinned when
   it read the records: if they are somebody else's by now, that is refused, and it rewinds.
5. The line polls: what was paused flows on from where it stood, and it sees a changed assignment.

What could go wrong, and why it does not:

- *Line and vigil use the client at once.* Every use goes through the reader's one lock.
- *The line polls just when the vigil was about to.* The vigil looks at the time again once it has
  the lock.
- *The vigil's poll returns a record after all*, fetched before the pause. It is not kept: the
  assignment counts as changed, and the line goes back to its frontiers.
- *The vigil's poll returns an error.* It is kept, and the line's next poll tells it.
- *The process is stopped after the line's poll returned, and before it pinned its membership; when
  it goes on, the vigil is first, and gives a partition away.* A membership is not given out once
  the assignment has changed since the line's last poll: it would fence nothing.
- *The line leaves the group while the vigil waits for the lock.* Whoever gets it looks first
  whether the vigil is over.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

EVERY_SECONDS = 1.0
"""How often it polls in the line's place, at most."""


class Vigil:
    """Calls a function when nobody has come by for a while, again and again until somebody does.

    Args:
        patience: For how many seconds nobody must have come by.
        lock: Held while the function is called.
        stand_in: The function; it must not raise.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        patience: float,
        lock: AbstractContextManager[object],
        stand_in: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience
        self._every = min(EVERY_SECONDS, patience)
        self._lock = lock
        self._stand_in = stand_in
        self._clock = clock
        self._last = clock()
        self._started = False
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to watch, in a thread that the process does not wait for; once is enough."""
        self.passed()
        if not self._started:
            self._started = True
            threading.Thread(target=self._watch, name="vigil", daemon=True).start()

    def passed(self) -> None:
        """Note that somebody came by. The lock must be held."""
        self._last = self._clock()

    def stop(self) -> None:
        """Stand in no more. The lock must be held."""
        self._over.set()

    def look(self) -> float:
        """Stand in if it is time.

        Returns:
            After how many seconds to look again.
        """
        with self._lock:
            left = self._last + self._patience - self._clock()
            if left > 0 or self._over.is_set():
                return max(left, 0.0)
            self._stand_in()
        return self._every

    def _watch(self) -> None:
        wait = self._patience
        while not self._over.wait(wait):
            wait = self.look()
