"""librdkafka's mock broker, in the place of Kafka.

It speaks enough of Kafka's protocol for groups, offsets and reading, keeps everything in the
memory of the process that made it, and is gone with that process. It is no Kafka: see `HIDDEN` in
`eos.demo.embedded`.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from confluent_kafka import Consumer, Producer

from eos import build
from eos.core.events import Assigned, Event
from eos.core.ports import Ports
from eos.core.settings import Settings
from eos.demo.names import Names
from eos.doors.app import App
from eos.kafka import config
from eos.kafka.errors import translating
from eos.kafka.log import KafkaLog
from eos.kafka.topics import TIMEOUT, KafkaTopics

PARTITIONS = 4
"""So many every topic of it has."""

_FIRST_SESSION_MS = 3100
_HEARTBEAT_MS = 300
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 20.0
_LOG = logging.getLogger("eos.demo.mock")


@contextmanager
def broker() -> Iterator[str]:
    """Run a mock broker in this process.

    Yields:
        Its address, for other processes, too.
    """
    owner = Producer({"test.mock.num.brokers": 1}, logger=_LOG)
    found = owner.list_topics(timeout=TIMEOUT).brokers.values()
    yield ",".join(f"{each.host}:{each.port}" for each in found)
    owner.flush(0)  # until here it must live: the broker goes with it


@contextmanager
def led(servers: str, strategies: Mapping[str, str]) -> Iterator[None]:
    """Give groups a first member, which reads nothing, and which nobody kills.

    Without it, groups on this broker take long to get over a death:

    1. The member that has been there for the longest leads. If it is dead, the others wait for it.
    2. A group's first member is held back for three seconds. If its session is shorter, it is
       thrown out meanwhile, without an answer: all sessions would have to be longer.
    3. A rebalance takes as long as the session, less one second, whoever has come by then.

    Args:
        servers: The broker.
        strategies: How each group assigns partitions: the same for all members of one.
    """
    members = [_first(servers, group, strategy) for group, strategy in strategies.items()]
    joined, leaving = threading.Event(), threading.Event()

    def take_part() -> None:
        while not leaving.wait(_POLL_SECONDS):
            for member in members:
                member.poll(0)
            if all(member.assignment() for member in members):
                joined.set()

    thread = threading.Thread(target=take_part, name="first of all groups", daemon=True)
    thread.start()
    try:
        joined.wait(_PATIENCE_SECONDS)
        yield
    finally:
        leaving.set()
        thread.join()
        for member in members:
            member.close()


def _first(servers: str, group: str, strategy: str) -> Consumer:
    member = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "session.timeout.ms": _FIRST_SESSION_MS,
            "heartbeat.interval.ms": _HEARTBEAT_MS,
            "partition.assignment.strategy": strategy,
            "allow.auto.create.topics": True,
        },
        logger=_LOG,
    )
    topic = f"{group}.nothing"
    member.list_topics(topic, timeout=TIMEOUT)  # asking makes it
    member.subscribe([topic])
    return member


class MockTopics(KafkaTopics):
    """What a topic is, where no broker is the controller, which is who knows topic ids.

    Asking for a topic makes it. None is ever removed, so that its name will do for an id.
    """

    def describe(self, topic: str) -> tuple[str, int]:
        """Give a topic's name, and how many partitions it has."""
        with translating(f"describe topic {topic!r}"):
            found = self._admin.list_topics(topic, timeout=TIMEOUT).topics[topic]
        return topic, len(found.partitions)

    def compacts(self, topic: str) -> bool:
        """Say no: this broker keeps what it has, and tells nobody the settings of its topics."""
        del topic
        return False

    def ensure(self, names: Sequence[str], partitions: int = -1, *, retention: int = 0) -> None:
        """Make topics that do not exist yet, each with as many partitions as the broker gives."""
        del partitions, retention
        for name in names:
            self.describe(name)


class OnMock:
    """Runs an app on the mock broker: `eos.App.work`, but for what topics are.

    Args:
        app: The application.
        names: Says where to note that a worker has come: the broker does not tell of groups.
    """

    def __init__(self, app: App, names: Names) -> None:
        self._app = app
        self._names = names

    def work(self, *, slot: int, stopping: Callable[[], bool]) -> None:
        """Work until asked to stop."""
        settings = self._app.settings

        def note(event: Event) -> None:
            if isinstance(event, Assigned) and event.partitions:
                self._names.arrival(slot).touch()

        tell = build.observers(settings, note)
        ports = _on_mock(build.adapters(settings, slot, tell), settings, slot)
        try:
            build.line(settings, self._app.steps, ports, tell).run(stopping)
        finally:
            ports.ledger.close()


def _on_mock(ports: Ports, settings: Settings, slot: int) -> Ports:
    topics = MockTopics(config.client(settings))
    reading = config.consumer(settings, slot)
    return replace(ports, topics=topics, log=lambda: KafkaLog(reading, topics))
