"""A bound for calls of the client that have none."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from eos.core.errors import RetriableError

T = TypeVar("T")


def within(seconds: float, doing: str, call: Callable[[], T]) -> T:
    """Wait for a call, in a thread of its own, but not for ever.

    A synchronous commit of the consumer waits for its coordinator for as long as that is away.

    Raises:
        RetriableError: It did not come back in time. It may yet do what it was told.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 it is raised where the call was asked for
            outcome.set_exception(error)

    threading.Thread(target=run, name=doing, daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        raise RetriableError(
            f"{doing}: no answer within {seconds:g} s: brokers away?", on="kafka"
        ) from error
