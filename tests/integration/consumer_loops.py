"""Loops around `eos.Consumer` in the test's own process."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import eos
from tests.integration.cluster import SECONDS


def group_conf(brokers: str, group: str, **more: Any) -> dict[str, Any]:
    """Give a configuration that notices a death soon."""
    return {
        "bootstrap.servers": brokers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
        "auto.commit.interval.ms": 100,
        **more,
    }


@contextmanager
def looping(conf: dict[str, Any], ledger: str, **settings: Any) -> Iterator[Any]:
    """Make a consumer, and close it whatever happens."""
    consumer = eos.Consumer(conf, ledger=ledger, **settings)
    try:
        yield consumer
    finally:
        consumer.close()


def take(consumer: Any, number: int, seconds: float = SECONDS) -> list[Any]:
    """Poll until so many records were handed out."""
    found: list[Any] = []
    deadline = time.monotonic() + seconds
    while len(found) < number:
        assert time.monotonic() < deadline, f"{len(found)} of {number} came: {values(found)}"
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
    return found


def nothing_comes(consumer: Any, polls: int = 4) -> None:
    """See that there is nothing left to be handed out."""
    for _ in range(polls):
        message = consumer.poll(0.2)
        assert message is None, (message.value(), message.error())


def until(consumer: Any, condition: Callable[[], bool], what: str) -> None:
    """Poll until something holds; nothing is to be handed out meanwhile."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        consumer.poll(0.1)


def values(messages: list[Any]) -> list[str]:
    """Give the values as text."""
    return [(message.value() or b"").decode() for message in messages]
