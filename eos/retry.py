"""The one door to tenacity: how long to wait before the next try."""

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

MAX_SECONDS = 30.0


class Backoff:
    """Pauses that double, with jitter so that workers do not come back in step.

    Args:
        first: The first pause in seconds.
        longest: The longest pause in seconds, default 30.
    """

    def __init__(self, first: float, longest: float = MAX_SECONDS) -> None:
        jitter = wait_random(0, min(first, longest) / 2)
        self._wait = wait_exponential(multiplier=first, max=longest) + jitter
        self._state = RetryCallState(Retrying(), None, (), {})

    def seconds(self, attempt: int) -> float:
        """Give the pause after the `attempt`-th failure in a row, from 1."""
        self._state.attempt_number = attempt
        return float(self._wait(self._state))
