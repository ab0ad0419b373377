"""Waiting on a condition with a deadline, instead of sleeping for luck."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Ask `condition` again and again.

    Returns:
        True as soon as the condition holds, False when `seconds` are over.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
