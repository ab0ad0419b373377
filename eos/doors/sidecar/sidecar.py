"""Runs a sidecar: each line in a thread; pushes, calls and the listener in the loop of another."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eos import build
from eos.core.errors import RetriableError
from eos.core.events import Emit, Waiting
from eos.core.keys import standard
from eos.core.settings import Settings
from eos.doors.sidecar.config import Config, Deliver, Target, key_of
from eos.doors.sidecar.deliver.calls import Calls
from eos.doors.sidecar.deliver.delivery import Delivery
from eos.doors.sidecar.listen.http import application, bound, server
from eos.doors.sidecar.listen.status import Health
from eos.doors.sidecar.publish.endpoint import Publishing
from eos.doors.sidecar.publish.publication import Publication
from eos.doors.together import Stopping, Work, together
from eos.handle import Step
from eos.observe import fan_out
from eos.observe.logs import say

_STEP = "deliver"
_ASKED = frozenset({"skip", "dead_letter"})
"""Policies of what is in doubt that ask about each record by itself."""
_LEAVE_SECONDS = 10.0
_PREPARE_SECONDS = 1.0

_logger = logging.getLogger("eos.sidecar")


@dataclass(frozen=True, slots=True)
class Looping:
    """An event loop in a thread of its own.

    Attributes:
        run: Runs a coroutine in it.
        soon: Has a function called in it.
    """

    run: Callable[[Coroutine[Any, Any, Any]], Future[Any]]
    soon: Callable[..., Any]


class Sidecar:
    """A sidecar: what a pool of workers runs (`eos.workers.contract.Workable`).

    Args:
        config: All that it is told.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def work(self, *, slot: int, stopping: Callable[[], bool], emit: Emit | None = None) -> None:
        """Deliver, publish, relay and answer until `stopping()`; then finish what was begun.

        Args:
            slot: Its number.
            stopping: Asked between batches.
            emit: Told what happens, beside metrics and logs.

        Raises:
            ConfigError: It cannot listen there.
            FatalError: If going on could lose or repeat a record.
        """
        config = self._config
        health = Health(
            deliver=bool(config.deliver),
            publish=config.publish is not None,
            outbox=config.outbox is not None,
        )

        def leaving() -> bool:
            health.draining = health.draining or stopping()
            return health.draining

        listening = bound(config.listen.address)
        with listening, looping() as loop:
            works: list[Work] = []
            publishing = None
            if config.publish is not None:
                publication = Publication(loop.soon, config.publish.timeout)
                tell = self._told(build.publishing_settings(config.settings), health.publish, emit)
                publishing = self._endpoint(publication, tell, health)
                works.append(partial(self._publish, slot, publication, tell, health))
            if config.outbox is not None:
                works.append(partial(self._relay, health, emit))
            if config.deliver:
                works.append(partial(self._deliver, slot, health, loop, emit))
            with _served(config, listening, health, publishing, loop):
                together(leaving, *works)

    def _deliver(
        self, slot: int, health: Health, loop: Looping, emit: Emit | None, stopping: Stopping
    ) -> None:
        config, settings, status = self._config, _keyed(self._config), health.deliver
        tell = self._told(settings, status, emit)
        calls: Calls = loop.run(_made(config.app, config.listen.max_body)).result()
        try:
            steps = [
                step_of(deliver, Delivery(deliver, calls, loop.run, tell), settings.in_doubt)
                for deliver in config.deliver
            ]
            ports = build.adapters(settings, slot, tell)
            if status is not None:
                status.member = ports.reader
            try:
                build.line(settings, steps, ports, tell).run(stopping)
            finally:
                ports.ledger.close()
        finally:
            loop.run(calls.close()).result(_LEAVE_SECONDS)

    def _publish(
        self, slot: int, publication: Publication, tell: Emit, health: Health, stopping: Stopping
    ) -> None:
        config, status = self._config, health.publish
        if config.publish is None:
            return
        topics = config.publish.topics
        settings = build.publishing_settings(config.settings)
        step = partial(publication.step, topics[0])
        it = build.publishing(settings, slot, step, tell, publication.told)
        try:
            if not _prepared(it, topics, settings, tell, stopping):
                return
            publication.log = it
            if status is not None:
                status.member = it.ports.reader
            # Who asked already gets an answer: no call waits for longer than its time-out.
            it.line.run(lambda: stopping() and not publication.waiting)
        finally:
            it.close()

    def _relay(self, health: Health, emit: Emit | None, stopping: Stopping) -> None:
        if (outbox := self._config.outbox) is None:
            return
        from eos.stores.sql.connections import engine_of  # noqa: PLC0415 who has one loads it

        settings = build.relay_settings(self._config.settings)
        tell = self._told(settings, health.outbox, emit)
        database = engine_of(outbox.database)
        relay = build.relay(settings, database, tell, poll=outbox.poll, keep=outbox.keep)
        relay.run(stopping)

    def _endpoint(self, publication: Publication, tell: Emit, health: Health) -> Publishing | None:
        config = self._config
        if config.publish is None:
            return None
        return Publishing(
            publication,
            topics=config.publish.topics,
            namespace=config.settings.namespace,
            most_bytes=config.listen.max_body,
            most_message=build.max_message_bytes(config.settings),
            seconds=config.publish.timeout,
            emit=tell,
            draining=lambda: health.draining,
        )

    @staticmethod
    def _told(settings: Settings, *others: Emit | None) -> Emit:
        """Give what is told of a line: metrics, logs, and the others."""
        return build.observers(settings, fan_out(*(each for each in others if each is not None)))


def _prepared(
    it: build.Publishing,
    topics: Sequence[str],
    settings: Settings,
    tell: Emit,
    stopping: Stopping,
) -> bool:
    """See that topics are there, for as long as it takes; False if it is to stop before."""
    while not stopping():
        try:
            it.prepare(topics, settings.audit_retention)
        except RetriableError as error:
            tell(Waiting("kafka", _PREPARE_SECONDS, str(error)))
            time.sleep(_PREPARE_SECONDS)
        else:
            return True
    return False


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


async def _made(app: Target | None, most_bytes: int) -> Calls:
    if app is None:
        raise ValueError("deliver needs an app")
    return Calls(app, most_bytes)


@contextmanager
def looping() -> Iterator[Looping]:
    """Run an event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="eos sidecar loop", daemon=True)
    thread.start()
    try:
        yield Looping(
            lambda work: asyncio.run_coroutine_threadsafe(work, loop), loop.call_soon_threadsafe
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LEAVE_SECONDS)


@contextmanager
def _served(
    config: Config, listening: Any, health: Health, publishing: Publishing | None, loop: Looping
) -> Iterator[None]:
    """Answer requests while the lines run."""
    it = server(application(config.listen, health, publishing), config.listen)
    done = loop.run(it.serve([listening]))
    say(_logger, logging.INFO, "listening", on=_name_of(listening))
    try:
        yield
    finally:
        it.should_exit = True
        done.result(_LEAVE_SECONDS)


def _name_of(listening: Any) -> str:
    name: Sequence[Any] | str = listening.getsockname()
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"
