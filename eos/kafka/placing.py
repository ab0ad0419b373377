"""Where somebody else's consumer reads on: asked, and told, through the consumer itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from eos.core.errors import RetriableError
from eos.core.ports import Partition
from eos.kafka.errors import translated, translating

T = TypeVar("T")

_TIMEOUT = 10.0
_PAUSE = 0.05


def assigned(consumer: Any) -> list[Partition]:
    """Give what is assigned to a consumer."""
    with translating("ask for the assignment"):
        return [(each.topic, each.partition) for each in consumer.assignment()]


def committed(consumer: Any, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """Give the group's committed offsets; partitions without one are left out."""
    wanted = [TopicPartition(*partition) for partition in partitions]

    def ask() -> list[TopicPartition]:
        with translating("read the committed offsets"):
            found: list[TopicPartition] = consumer.committed(wanted, _TIMEOUT)
        for each in found:
            if each.error is not None:
                raise translated(each.error, "read the committed offsets")
        return found

    answer = _patiently(ask)
    return {(each.topic, each.partition): each.offset for each in answer if each.offset >= 0}


def bounds(consumer: Any, partition: Partition) -> tuple[int, int]:
    """Give where a partition's log begins and ends now."""

    def ask() -> tuple[int, int]:
        with translating(f"read where {partition[0]}[{partition[1]}] begins and ends"):
            low, high = consumer.get_watermark_offsets(TopicPartition(*partition), _TIMEOUT)
        return low, high

    return _patiently(ask)


def place(consumer: Any, starts: Mapping[Partition, int], *, being_assigned: bool) -> None:
    """Have a consumer read on from here.

    Args:
        consumer: A `confluent_kafka.Consumer`.
        starts: From where, for all partitions that it has, or is getting.
        being_assigned: Whether the group is assigning them at this moment.
    """
    placed = [TopicPartition(*partition, offset) for partition, offset in starts.items()]
    if not placed:
        return
    # Not `seek`: it fails where a partition has not started, or stands still because the group
    # has no offset and `auto.offset.reset` is `error`.
    with translating("assign partitions"):
        try:
            consumer.assign(placed)
        except KafkaException as error:
            # The client does not tell whether its protocol assigns step by step.
            if error.args[0].code() != KafkaError._STATE:
                raise
            if not being_assigned:
                consumer.incremental_unassign(placed)
            consumer.incremental_assign(placed)


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again while a coordinator or leader is looked for: in a callback errors do harm."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            return ask()
        except RetriableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
