"""Runs a sidecar: the line in one thread, pushes and the listener in the loop of another."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from eos import build
from eos.core.events import Emit
from eos.core.keys import standard
from eos.core.settings import Settings
from eos.doors.sidecar.calls import Calls
from eos.doors.sidecar.config import Config, Deliver, key_of
from eos.doors.sidecar.delivery import Delivery
from eos.doors.sidecar.http import application, bound, server
from eos.doors.sidecar.status import Status
from eos.handle import Step
from eos.observe import fan_out
from eos.observe.logs import say

_STEP = "deliver"
_ASKED = frozenset({"skip", "dead_letter"})
"""Policies of what is in doubt that ask about each record by itself."""
_LEAVE_SECONDS = 10.0

_logger = logging.getLogger("eos.sidecar")


class Sidecar:
    """A sidecar: what a pool of workers runs (`eos.workers.contract.Workable`).

    Args:
        config: All that it is told.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def work(self, *, slot: int, stopping: Callable[[], bool], emit: Emit | None = None) -> None:
        """Deliver, and answer, until `stopping()`; then finish what was begun.

        Args:
            slot: Its number.
            stopping: Asked between batches.
            emit: Told what happens, beside metrics and logs.

        Raises:
            ConfigError: It cannot listen there.
            FatalError: If going on could lose or repeat a record.
        """
        status = Status()
        listener = fan_out(status, emit) if emit else status
        tell = build.observers(self._config.settings, listener)

        def leaving() -> bool:
            status.draining = status.draining or stopping()
            return status.draining

        listening = bound(self._config.listen.address)
        with listening, looping() as run, _served(self._config, listening, status, run):
            calls: Calls = run(_made(self._config)).result()
            try:
                self._deliver(slot, leaving, tell, status, calls, run)
            finally:
                run(calls.close()).result(_LEAVE_SECONDS)

    def _deliver(
        self,
        slot: int,
        stopping: Callable[[], bool],
        tell: Emit,
        status: Status,
        calls: Calls,
        run: Callable[[Coroutine[Any, Any, Any]], Future[Any]],
    ) -> None:
        settings = _keyed(self._config)
        steps = [
            step_of(deliver, Delivery(deliver, calls, run, tell), settings.in_doubt)
            for deliver in self._config.deliver
        ]
        ports = build.adapters(settings, slot, tell)
        status.member = ports.reader
        try:
            build.line(settings, steps, ports, tell).run(stopping)
        finally:
            ports.ledger.close()


def step_of(deliver: Deliver, delivery: Delivery, in_doubt: str) -> Step:
    """Give the step that delivers a topic."""
    if deliver.to is None and in_doubt in _ASKED:
        return Step(deliver.topic, None, delivery.one, batch=False, name=_STEP)
    ahead = delivery.ahead
    return Step(deliver.topic, deliver.to, delivery, batch=True, name=_STEP, ahead=ahead)


def _keyed(config: Config) -> Settings:
    """Give the line's settings: each topic may have its own place for the idempotency key."""
    readers = {deliver.topic: key_of(deliver.key) or standard for deliver in config.deliver}
    if not any(deliver.key for deliver in config.deliver):
        return config.settings
    return replace(config.settings, key=lambda record: readers[record.topic](record))


async def _made(config: Config) -> Calls:
    return Calls(config.app, config.listen.max_body)


@contextmanager
def looping() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Future[Any]]]:
    """Run an event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="eos sidecar loop", daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LEAVE_SECONDS)


@contextmanager
def _served(
    config: Config,
    listening: Any,
    status: Status,
    run: Callable[[Coroutine[Any, Any, Any]], Future[Any]],
) -> Iterator[None]:
    """Answer requests while the line runs."""
    it = server(application(config.listen, status), config.listen)
    done = run(it.serve([listening]))
    say(_logger, logging.INFO, "listening", on=_name_of(listening))
    try:
        yield
    finally:
        it.should_exit = True
        done.result(_LEAVE_SECONDS)


def _name_of(listening: Any) -> str:
    name: Sequence[Any] | str = listening.getsockname()
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"
