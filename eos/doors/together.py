"""Several works in one process: they stop together."""

import threading
from collections.abc import Callable

Stopping = Callable[[], bool]
"""Answers whether to stop; cheap to ask, again and again."""

Work = Callable[[Stopping], None]
"""Works until it is told to stop, then drains, and returns."""


def together(stopping: Stopping, *works: Work) -> None:
    """Do all of these until one ends; the last one in this thread.

    Raises:
        BaseException: What the first one raised that failed.
    """
    *beside, here = works
    if not beside:
        here(stopping)
        return
    over = threading.Event()
    failures: list[BaseException] = []

    def stop() -> bool:
        return over.is_set() or stopping()

    def do(work: Work) -> None:
        try:
            work(stop)
        except BaseException as error:  # noqa: BLE001 raised again below
            failures.append(error)
        finally:
            over.set()

    threads = [threading.Thread(target=do, args=(work,)) for work in beside]
    for thread in threads:
        thread.start()
    do(here)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
