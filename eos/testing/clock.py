"""A clock that is turned by hand."""

from collections.abc import Callable

from eos.core.settings import duration

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z: the same in each run


class Clock:
    """Tells the time that it was turned to, to a line and to its ledger.

    Args:
        start: Where it stands at first, seconds since the epoch; default: the beginning of 2026.
    """

    def __init__(self, start: float = START) -> None:
        self._now = float(start)
        self._watching: list[Callable[[], None]] = []

    def time(self) -> float:
        """Give the seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Give seconds that only go forward."""
        return self._now

    def advance(self, by: str | float) -> None:
        """Turn it forward, and let those who run by it live through that time.

        What was sent before is worked off before it moves.

        Args:
            by: Seconds, or text such as "100ms" or "24h".

        Raises:
            ValueError: If that is no duration, or would turn the clock back.
        """
        if (seconds := duration(by)) < 0:
            raise ValueError(f"{by!r} would turn the clock back: time only goes forward")
        for each in list(self._watching):
            each()
        self.tick(seconds)
        for each in list(self._watching):
            each()

    def tick(self, seconds: float) -> None:
        """Turn it forward, and tell nobody."""
        self._now += seconds

    def watch(self, moved: Callable[[], None]) -> None:
        """Call a function before and after each `advance`."""
        self._watching.append(moved)

    def unwatch(self, moved: Callable[[], None]) -> None:
        """Call it no longer."""
        self._watching.remove(moved)
