"""Waits for servers that are busy, as a command does that somebody waits for."""

import time
from collections.abc import Callable
from typing import TypeVar

from eos.core.errors import AbortableError, RetriableError
from eos.retry import Backoff

T = TypeVar("T")

PATIENCE_SECONDS = 30.0


def patiently(do: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Do something again for a while, if a server is away or busy.

    A transaction that a worker left open ends by itself; a topic that a broker does not know may
    have been made just now.

    Raises:
        EosError: What it raised last.
    """
    deadline, backoff, tries = time.monotonic() + seconds, Backoff(0.2, 2.0), 0
    while True:
        try:
            return do()
        except (RetriableError, AbortableError):
            tries += 1
            if time.monotonic() > deadline:
                raise
            time.sleep(backoff.seconds(tries))
