"""What one process has settled of a partition, as far as it believes: no I/O.

A transaction that settled a record may yet be rolled back, and nobody tells us. So this is only
belief: it says what to expect of the row, and what it means where the row says otherwise.
"""

from collections import deque

MAX_RUNS = 1000
"""So many stretches of a log with gaps are remembered; of a log without, there is one."""


class Trail:
    """The offsets that were settled, in order, as stretches without gaps.

    Args:
        frontier: The row's frontier at the seek, which was committed.

    Attributes:
        floor: The frontier at the seek: a row that is below went back.
        next: One past the last record settled, or seen to be settled.
        log_time: The newest log time seen, in seconds.
    """

    def __init__(self, frontier: int) -> None:
        self.floor = self.next = frontier
        self.log_time = 0
        self._runs: deque[list[int]] = deque([[frontier, frontier]], maxlen=MAX_RUNS)

    def settled(self, offset: int) -> None:
        """Add a record."""
        last = self._runs[-1]
        if last[1] == offset:
            last[1] = offset + 1
        else:
            self._runs.append([offset, offset + 1])
        self.next = offset + 1

    def passed(self, frontier: int) -> None:
        """Note that the row is further than we ever were: somebody else moves it, too."""
        self.floor = self.next = frontier
        self._runs.clear()
        self._runs.append([frontier, frontier])

    def first_undone(self, frontier: int) -> int:
        """Give the first record that we settled and that this frontier does not cover.

        What stands between the two in the log was never handed to us: a gap. Where we do not
        remember that far back it is the frontier itself.
        """
        if frontier < self._runs[0][0]:
            return frontier
        return next((max(run[0], frontier) for run in self._runs if frontier < run[1]), self.next)

    def back_to(self, frontier: int) -> None:
        """Forget what this frontier does not cover: it was rolled back."""
        while self._runs and self._runs[-1][0] > frontier:
            self._runs.pop()
        if self._runs:
            self._runs[-1][1] = min(self._runs[-1][1], frontier)
        else:
            self._runs.append([frontier, frontier])
        self.next = frontier

    def jumped_over(self, offset: int) -> bool:
        """Tell whether we settled what is before and behind this offset, but not it."""
        return self._runs[0][0] <= offset < self.next and not any(
            start <= offset < end for start, end in self._runs
        )
