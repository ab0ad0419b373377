"""A member of the consumer group."""

from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from eos.core.errors import AbortableError, FatalError, RetriableError
from eos.core.ports import Partition
from eos.core.record import Message
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import translated, translating

_TIMEOUT = 5.0
_STABLE_TIMEOUT = 1.0
# Told through the poll although the client mends them itself.
_PASSING = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._PARTITION_EOF,
        KafkaError._RESOLVE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


class KafkaReader:
    """Implements `eos.core.ports.Reader` on a `confluent_kafka.Consumer`.

    Rebalance callbacks only keep the books: an exception in one of them would destroy records
    that were fetched already. Partitions are assigned paused; `seek` lets one flow.

    Args:
        conf: librdkafka's consumer configuration.
        first_offset: `earliest`, `latest` or `error`, for partitions that nothing was settled of.
    """

    def __init__(self, conf: dict[str, Any], first_offset: str) -> None:
        strategy = str(conf.get("partition.assignment.strategy", ""))
        if conf.get("group.protocol") == "consumer":
            conf = {k: v for k, v in conf.items() if k != "partition.assignment.strategy"}
            strategy = "cooperative"
        self._incremental = "cooperative" in strategy
        self._first_offset = first_offset
        self._assigned: dict[Partition, int] = {}
        self._assignments = 0
        with translating("make a Kafka consumer"):
            self._consumer = Consumer(conf, logger=CLIENT_LOG)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group."""
        with translating("subscribe"):
            self._consumer.subscribe(
                list(topics),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        """Wait for up to `limit` messages."""
        with translating("read"):
            messages = self._consumer.consume(limit, seconds)
        if any(message.error() for message in messages):
            for message in messages:
                if (error := message.error()) and error.code() not in _PASSING:
                    raise self._failed(message.topic(), message.partition(), error)
            return [message for message in messages if not message.error()]
        return messages

    @staticmethod
    def _failed(topic: str | None, partition: int | None, error: KafkaError) -> Exception:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            return FatalError(
                f"{topic}[{partition}]: the log no longer holds the group's position "
                f"({error.str()}): records were removed before they were handled. Choose where "
                "to go on with `kafka-consumer-groups.sh --reset-offsets`, then start again"
            )
        return translated(error, f"read {topic}[{partition}]")

    def assigned(self) -> dict[Partition, int]:
        """Give each assigned partition and the number of its assignment."""
        return self._assigned

    @property
    def assignments(self) -> int:
        """How many times the assignment changed: compare it to see whether it did."""
        return self._assignments

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """Read committed offsets, waiting a moment for open transactions (KIP-447)."""
        with translating("read committed offsets"):
            answer = self._consumer.committed(_topic_partitions(partitions), _STABLE_TIMEOUT)
        return committed(answer)

    def beginnings(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where to begin in partitions that nothing was settled of."""
        found = {}
        for topic, partition in partitions:
            if self._first_offset == "error":
                raise FatalError(
                    f"{topic}[{partition}] has no committed offset, and auto.offset.reset is error"
                )
            with translating(f"read the ends of {topic}[{partition}]"):
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), _TIMEOUT
                )
            found[topic, partition] = high if self._first_offset == "latest" else low
        return found

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this partition from here, and let it flow."""
        target = TopicPartition(*partition, offset)
        try:
            self._consumer.seek(target)
            self._consumer.resume([target])
        except KafkaException as error:
            # Right after an assignment the client may not have started the partition yet.
            if error.args[0].code() in {KafkaError._STATE, KafkaError._UNKNOWN_PARTITION}:
                raise RetriableError(f"{partition} is not started yet") from error
            raise translated(error.args[0], "seek") from error

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hold partitions back."""
        with translating("pause"):
            self._consumer.pause(_topic_partitions(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Let partitions flow again from where they were held back."""
        with translating("resume"):
            self._consumer.resume(_topic_partitions(partitions))

    def group_metadata(self) -> object:
        """Give the membership. One without a generation would not be fenced: refused."""
        metadata: bytes = self._consumer.consumer_group_metadata()
        if generation(metadata) < 0:
            raise AbortableError("not a member of the group", cause="rebalance")
        return metadata

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        for partition in partitions:
            # Nothing is fetched before `seek`. A plain number: the client would resolve a logical
            # offset once more when connections break, and jump there.
            partition.offset = 0
            self._assigned[partition.topic, partition.partition] = self._assignments
        if self._incremental:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        if partitions:
            consumer.pause(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        for partition in partitions:
            self._assigned.pop((partition.topic, partition.partition), None)
        if self._incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()


def generation(metadata: bytes) -> int:
    """Read the generation out of librdkafka's group metadata: `CGMDv2:`, then 32 bits."""
    return int.from_bytes(metadata[7:11], "little", signed=True)


def committed(answer: Sequence[TopicPartition]) -> dict[Partition, int | None]:
    """Read an answer about committed offsets; None where there is none."""
    for partition in answer:
        if partition.error:
            raise translated(partition.error, f"read committed offset of {partition.topic}")
    return {(p.topic, p.partition): p.offset if p.offset >= 0 else None for p in answer}


def _topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in partitions]
