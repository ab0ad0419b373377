"""A circuit breaker: an app that is away is not hammered.

Closed, calls go through. It opens at once when nobody listens, and after a few time-outs in a row.
While it is open the first event of a partition goes alone, and what stands behind it waits for its
answer, whatever that says.
"""

_TIME_OUTS = 3


class Breaker:
    """Belongs to one thread.

    Attributes:
        open: Whether the app is taken to be away.
    """

    def __init__(self) -> None:
        self.open = False
        self._time_outs = 0

    def answered(self) -> None:
        """Note that the app gave an answer."""
        self.open, self._time_outs = False, 0

    def refused(self) -> None:
        """Note that nobody listens, or that the connection broke."""
        self.open = True

    def timed_out(self) -> None:
        """Note that no answer came in time."""
        self._time_outs += 1
        self.open = self.open or self._time_outs >= _TIME_OUTS
