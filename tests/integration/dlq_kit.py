"""Dead letters of a namespace, brought about by a real line or put there, and the command."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, Message, Producer
from typer.testing import CliRunner, Result

import eos
from eos.cli.main import app
from eos.core.record import Headers, Position, Record, Send
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.handle.letters import DeadLetters, Output
from eos.kafka.topics import KafkaTopics
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.lines import Running, step


class Seen(NamedTuple):
    """What a handler was given."""

    id: str
    partition: int
    attempt: int
    headers: Headers


class Buggy:
    """A handler that fails for what it was not mended for.

    Attributes:
        bad: Values that it fails for.
        seen: All that it was given.
    """

    def __init__(self, *bad: str) -> None:
        self.bad = set(bad)
        self.seen: list[Seen] = []

    def __call__(self, record: Record) -> Send:
        """Send what came, or fail."""
        value = (record.value or b"").decode("utf-8", "replace")
        told = Seen(record.idempotency_key, record.partition, record.attempt, list(record.headers))
        self.seen.append(told)
        if value in self.bad:
            raise eos.HandlerError(f"cannot handle {value}")
        return Send(record.value)


@dataclass
class Desk:
    """A namespace whose dead letters somebody looks after.

    Attributes:
        cluster: Where the topics are.
        settings: Of the worker.
        source: What it reads.
        to: Where it sends.
        handler: What the worker does.
    """

    cluster: Cluster
    settings: Settings
    source: str
    to: str
    handler: Buggy = field(default_factory=Buggy)

    @property
    def letters(self) -> str:
        """The topic of the letters."""
        return self.settings.dead_letters

    def line(self, handler: Callable[[Any], Any] | None = None) -> Running:
        """Give a worker of the group; it works for as long as its block lasts."""
        return Running(self.settings, [step(self.source, self.to, handler or self.handler)])

    def settled(self, group: str = "") -> None:
        """Wait until the worker, or another group, has settled all that stands in its topic."""
        group = group or self.settings.group
        ends = dict[int, int]()  # without the markers of transactions, which nobody settles
        for message in self.cluster.read_committed(self.source):
            ends[message.partition() or 0] = (message.offset() or 0) + 1

        def is_settled() -> bool:
            with suppress(KafkaException):  # the coordinator is being looked for, or moves
                found = self.cluster.committed(group, self.source)
                return all(found.get(number, 0) >= end for number, end in ends.items())
            return False

        assert wait_until(is_settled, seconds=2 * SECONDS, every=0.1), f"not settled: {ends}"

    def send(self, *inputs: Input) -> None:
        """Send records to the topic that is read."""
        self.cluster.send(self.source, inputs)

    def dlq(self, *arguments: str) -> Result:
        """Run `eos dlq` on the namespace."""
        where = ["--namespace", self.settings.namespace, "--brokers", self.settings.brokers]
        return dlq(*arguments, *where)

    def put(
        self,
        value: bytes | None,
        id_: str = "id",
        *,
        reason: str = "handler_failed",
        error: Exception | None = None,
        at: Position | None = None,
        topic: str = "",
        headers: Sequence[tuple[str, bytes | None]] = (),
        seconds: float | None = None,
        partition: int = 0,
        max_bytes: int = 1_000_000,
    ) -> None:
        """Put a letter there, as a worker would.

        Args:
            value: The payload.
            id_: The idempotency key.
            reason: Why.
            error: What was raised.
            at: Where the record stood; by default in no topic that there is.
            topic: The topic's name; default: the one that is read.
            headers: Those of the record.
            seconds: When; default: now.
            partition: Where the letter is put.
            max_bytes: How large a letter may be.
        """
        at = at or Position("none", 0, 0)
        own: Any = list(headers)
        record = Record(topic or self.source, *at, b"kafka key", value, own, 1_700_000_000_000)
        record.idempotency_key = id_
        letter = DeadLetters(self.letters, max_bytes, self.settings.group)(record, reason, error)
        self.publish(letter, seconds=seconds, partition=partition)

    def publish(self, output: Output, *, seconds: float | None = None, partition: int = 0) -> None:
        """Publish whatever it is."""
        producer = Producer({"bootstrap.servers": self.settings.brokers})
        moment = int((time.time() if seconds is None else seconds) * 1000)
        told: Any = list(output.headers)
        producer.produce(
            output.topic, output.value, output.key, partition, timestamp=moment, headers=told
        )
        assert producer.flush(SECONDS) == 0

    def rows(self, *arguments: str) -> list[str]:
        """Give the ids that `eos dlq list` shows, sorted."""
        done = self.dlq("list", *arguments)
        assert done.exit_code == 0, done.output
        return sorted(row.split()[0] for row in done.stdout.splitlines()[1:-1])

    def redrive(self, *arguments: str) -> str:
        """Redrive letters, all of which can be, and wait until they are settled."""
        done = self.dlq("redrive", *arguments)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        self.settled()
        return done.stdout

    def values(self, topic: str = "") -> list[str]:
        """Give what stands in a topic, by default what the worker sent, sorted."""
        found = self.cluster.read_committed(topic or self.to)
        return sorted((message.value() or b"").decode("utf-8", "replace") for message in found)

    def ends(self) -> Sequence[dict[int, int]]:
        """Give where the topics end that a command could publish to."""
        return [self.cluster.ends(topic) for topic in (self.source, self.letters)]

    def topic_id(self, topic: str = "") -> str:
        """Give a topic's id."""
        topics = KafkaTopics({"bootstrap.servers": self.settings.brokers})
        return topics.describe(topic or self.source)[0]


def headers_of(message: Message) -> list[tuple[str, Any]]:
    """Give a message's headers."""
    found: Any = message.headers() or []
    return list(found)


def dlq(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run `eos dlq` in this process."""
    done = CliRunner().invoke(app, ["dlq", *arguments], env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def left_behind(desk: Desk, *inputs: Input) -> None:
    """Have records become dead letters, and mend the bug."""
    desk.handler.bad = {(each.value or str(each.id).encode()).decode() for each in inputs}
    with desk.line():
        desk.send(*inputs)
        desk.settled()
    desk.handler.bad.clear()
    desk.handler.seen.clear()


def place_of(desk: Desk, key: str) -> str:
    """Give the id of the letter with a key."""
    [found] = desk.rows("--key", key, "--done")
    return found
