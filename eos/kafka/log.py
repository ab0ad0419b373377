"""The log itself, read outside of any group."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from eos.core.errors import RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Topics
from eos.core.record import Message
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import translated, translating
from eos.kafka.forms import committed

_TIMEOUT = 10.0
_STABLE_TIMEOUT = 1.0
_BATCH = 2000


class KafkaLog:
    """Implements `eos.core.ports.Log`.

    Args:
        conf: librdkafka's consumer configuration, the group's: committed offsets are read with
            it, but this consumer never joins.
        topics: Describes topics.
    """

    def __init__(self, conf: dict[str, Any], topics: Topics) -> None:
        self._topics = topics
        with translating("make a Kafka consumer"):
            self._consumer = Consumer(
                # The end of a partition is waited for: the broker shall not hold it back.
                {**conf, "enable.partition.eof": True, "fetch.wait.max.ms": 10},
                logger=CLIENT_LOG,
            )

    def frontiers(self, topic: str) -> dict[int, Frontier | None]:
        """Read the group's committed offsets of all partitions, with a stable read."""
        topic_id, count = self._topics.describe(topic)
        asked = [TopicPartition(topic, partition) for partition in range(count)]
        with translating("read committed offsets"):
            answer = self._consumer.committed(asked, _STABLE_TIMEOUT)
        return {
            partition: found if found and found.is_of(topic_id) else None
            for (_, partition), found in committed(answer).items()
        }

    def window_starts(self, topic: str, seconds: int) -> dict[int, int]:
        """Give the first offset of each partition that is as new as this."""
        _, count = self._topics.describe(topic)
        asked = [TopicPartition(topic, partition, seconds * 1000) for partition in range(count)]
        with translating("look offsets up by time"):
            answer = self._consumer.offsets_for_times(asked, _TIMEOUT)
        return {p.partition: p.offset if p.offset >= 0 else self._ends(p)[1] for p in answer}

    def log_time(self, topic: str, frontiers: Mapping[int, int]) -> int:
        """Give the log time that the group has come to: the lowest over its partitions.

        A partition that was read to its end counts as now.
        """
        now = int(time.time())
        times = [now]
        for partition, frontier in frontiers.items():
            _, end = self._ends(TopicPartition(topic, partition))
            if first := next(self.read(topic, partition, range(frontier, end)), None):
                times.append(first[0].timestamp()[1] // 1000)
        return min(times)

    def read(
        self, topic: str, partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Message]]:
        """Read a stretch, in batches.

        It ends with a record at or past the end of the stretch, or with the log itself: offsets
        have gaps (transaction markers, aborted records, compaction), so the last offset of the
        stretch may hold nothing.
        """
        if not offsets:
            return
        # Asked of the broker: a new leader does not answer before it knows where the log ends
        # (KIP-207). What a fetch calls the end may lag behind that.
        low, high = self._ends(TopicPartition(topic, partition))
        stop = offsets.stop if to_end else min(offsets.stop, high)
        self._consumer.assign([TopicPartition(topic, partition, max(low, offsets.start))])
        try:
            deadline = time.monotonic() + _TIMEOUT
            ended, reached = False, -1
            while not ended:
                if time.monotonic() > deadline:
                    raise RetriableError(_stuck(topic, partition, reached, stop))
                with translating("read the log"):
                    messages = self._consumer.consume(_BATCH, 0.1)
                batch = []
                for message in messages:
                    if (error := message.error()) is not None:
                        if error.code() == KafkaError._PARTITION_EOF:
                            reached = message.offset() or 0
                            ended |= reached >= stop
                        elif not error.retriable():
                            raise translated(error, f"read {topic}[{partition}]")
                    else:
                        ended |= (message.offset() or 0) >= offsets.stop - 1
                        if (message.offset() or 0) < offsets.stop:
                            batch.append(message)
                if batch:
                    deadline = time.monotonic() + _TIMEOUT
                    yield batch
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()

    def _ends(self, partition: TopicPartition) -> tuple[int, int]:
        with translating(f"read the ends of {partition.topic}[{partition.partition}]"):
            ends: tuple[int, int] = self._consumer.get_watermark_offsets(partition, _TIMEOUT)
        return ends


def _stuck(topic: str, partition: int, reached: int, stop: int) -> str:
    if reached < 0:
        return f"{topic}[{partition}] gives no records"
    return (
        f"{topic}[{partition}] can be read to {reached} and goes to {stop}: a transaction is open "
        "there. If it does not end by itself, kafka-transactions.sh find-hanging names it"
    )
