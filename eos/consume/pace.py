"""How many records to read at once, so that polls stay close together."""

import time
from collections.abc import Callable

_FIRST = 16
_TARGET_SECONDS = 1.0


class Pace:
    """Chooses the size of the next batch by how long the last one took.

    A handler that takes a second must not be given 500 records between two polls: the group
    would take the worker for dead (`max.poll.interval.ms`), and all of them would come again,
    for ever. Sizes begin small and double, as TCP's slow start does.

    Args:
        most: The largest batch.
        clock: Monotonic seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._limit = min(_FIRST, most)
        self._since: float | None = None

    def handed_out(self) -> None:
        """Take note that a batch was handed out."""
        self._since = self._clock()

    def limit(self) -> int:
        """Give how many records to read now; whoever asks is done with the batch before."""
        if self._since is not None:
            took, self._since = self._clock() - self._since, None
            if took <= _TARGET_SECONDS:
                self._limit = min(self._limit * 2, self._most)
            else:
                self._limit = max(int(self._limit * _TARGET_SECONDS / took), 1)
        return self._limit
