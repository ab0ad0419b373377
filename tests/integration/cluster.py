"""What a test does with a Kafka cluster from outside: topics, input, and looking at the outcome."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewTopic

from eos.devstack.waiting import wait_until

SECONDS = 30.0
"""How long a test waits for what must come. Never an expectation of speed."""


class Input(NamedTuple):
    """A record to be sent; its idempotency key travels as `message-id`."""

    id: str | None
    partition: int
    value: bytes | None = None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Cluster:
    """A Kafka cluster, looked at from outside.

    Args:
        bootstrap_servers: Where it is.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._conf: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 3,
            "reconnect.backoff.max.ms": 500,
        }
        self._admin = AdminClient(self._conf)
        # A new producer takes half a second to get its id: who sent without a failure sends again.
        self._producers: dict[str, Producer] = {}

    def create(self, name: str = "topic", partitions: int = 1, **config: str) -> str:
        """Make a topic; the name is made unique."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        self.create_named(unique, partitions, **config)
        return unique

    def create_named(self, name: str, partitions: int = 1, **config: str) -> None:
        """Make a topic of this very name."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=settings)
        self._admin.create_topics([topic])[name].result(SECONDS)
        self._await(lambda: len(self._partitions(name)) == partitions, f"topic {name}")

    def delete(self, name: str) -> None:
        """Delete a topic."""
        self._admin.delete_topics([name])[name].result(SECONDS)

    def send(self, topic: str, inputs: Iterable[Input], **conf: Any) -> None:
        """Send records as an ordinary producer does: no transaction."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        settings = {**self._conf, "enable.idempotence": True, **conf}
        producer = self._producers.pop(str(settings), None) or _producer(settings)
        producer.list_topics(topic, SECONDS)  # it may know the topic as it was
        for each in inputs:
            headers: list[tuple[str, str | bytes | None]] = list(each.headers)
            if each.id is not None:
                headers.append(("message-id", each.id.encode()))
            value = each.value if each.value is not None or each.id is None else each.id.encode()
            producer.produce(
                topic,
                value,
                each.key,
                partition=each.partition,
                headers=headers,
                on_delivery=delivered,
            )
        assert producer.flush(SECONDS) == 0
        assert not failures, failures
        self._producers[str(settings)] = producer

    def read_committed(self, topic: str) -> list[Message]:
        """Read all that is committed, to the very end of the log.

        The end is the high watermark: an open transaction would hide what stands behind it, so
        that one is waited for.
        """
        self._await(
            lambda: self._ends(topic, IsolationLevel.READ_COMMITTED) == self.ends(topic),
            f"the end of every transaction in {topic}",
        )
        partitions = self._partitions(topic)
        reader = self._consumer("read_committed", **{"enable.partition.eof": True})
        reader.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Message] = []
        ended: set[int | None] = set()
        deadline = time.monotonic() + SECONDS
        while len(ended) < len(partitions):
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for message in reader.consume(1000, 0.1):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    ended.add(message.partition())
        reader.close()
        return found

    def ends(self, topic: str) -> dict[int, int]:
        """Give the high watermark of each partition."""
        return self._ends(topic, IsolationLevel.READ_UNCOMMITTED)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Give the group's committed offsets; a partition that has none is left out."""
        with closing(self._consumer("read_uncommitted", **{"group.id": group})) as reader:
            return self._committed(reader, topic)

    def is_settled(self, group: str, topic: str) -> bool:
        """Tell whether the group has settled all that stands in the topic."""
        with suppress(KafkaException):  # the coordinator is being looked for, or moves
            ends = {number: end for number, end in self.ends(topic).items() if end}
            return self.committed(group, topic) == ends
        return False

    def await_settled(self, group: str, topic: str, seconds: float = 2 * SECONDS) -> None:
        """Wait until the group has settled all that stands in the topic."""
        if not wait_until(lambda: self.is_settled(group, topic), seconds=seconds, every=0.2):
            found, ends = self.committed(group, topic), self.ends(topic)
            raise AssertionError(f"not all is settled: {found} of {ends}")

    def has_open_transaction(self, group: str, topic: str) -> bool:
        """Tell whether offsets of the group wait for a transaction to end (KIP-447)."""
        with closing(self._consumer("read_committed", **{"group.id": group})) as reader:
            try:
                self._committed(reader, topic, seconds=1.0)
            except KafkaException as error:
                unstable = {KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT}  # noqa: SLF001
                if error.args[0].code() not in unstable:
                    raise
                return True
            return False

    def _committed(self, reader: Consumer, topic: str, seconds: float = SECONDS) -> dict[int, int]:
        asked = [TopicPartition(topic, number) for number in self._partitions(topic)]
        answer = reader.committed(asked, seconds)
        for each in answer:
            if each.error is not None:
                raise KafkaException(each.error)
        return {each.partition: each.offset for each in answer if each.offset >= 0}

    def _partitions(self, topic: str) -> Sequence[int]:
        found: Mapping[str, Any] = self._admin.list_topics(topic, timeout=SECONDS).topics
        return sorted(found[topic].partitions)

    def _ends(self, topic: str, isolation: IsolationLevel) -> dict[int, int]:
        deadline = time.monotonic() + SECONDS
        while True:
            with suppress(KafkaException):  # a leader is new, or is being looked for
                ends = self._ask_ends(topic, isolation)
                if all(end >= 0 for end in ends.values()):
                    return ends
            assert time.monotonic() < deadline, f"nobody tells where {topic} ends"
            time.sleep(0.05)

    def _ask_ends(self, topic: str, isolation: IsolationLevel) -> dict[int, int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): latest for number in self._partitions(topic)}
        answers = self._admin.list_offsets(
            asked, isolation_level=isolation, request_timeout=SECONDS
        )
        return {each.partition: answer.result().offset for each, answer in answers.items()}

    def _consumer(self, isolation: str, **conf: Any) -> Consumer:
        settings = {
            "group.id": "nobody",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,  # the end of a log is told only behind a fetch that waited
            **conf,
        }
        return Consumer({**self._conf, "isolation.level": isolation, **settings})

    @staticmethod
    def _await(condition: Callable[[], bool], what: str) -> None:
        if not wait_until(condition, seconds=SECONDS):
            raise AssertionError(f"waited in vain for {what}")


def ids(messages: Iterable[Message]) -> list[str]:
    """Give the values of messages as text: tests send a record's id as its value."""
    return [(message.value() or b"").decode() for message in messages]


def _producer(settings: dict[str, Any]) -> Producer:
    """Make a producer that is kept: when its brokers are gone it shall not say so for ever."""
    return Producer(settings, logger=logging.getLogger("tests.producer"))
