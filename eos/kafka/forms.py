"""The forms in which the client takes and gives partitions, offsets and memberships."""

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import TopicPartition

from eos.core.frontier import Frontier, parse
from eos.core.ports import Partition
from eos.kafka.errors import translated


def generation(metadata: bytes) -> int:
    """Read the generation out of librdkafka's group metadata: `CGMDv2:`, then 32 bits."""
    return int.from_bytes(metadata[7:11], "little", signed=True)


def committed(answer: Sequence[TopicPartition]) -> dict[Partition, Frontier | None]:
    """Read an answer about committed offsets; None where there is none."""
    for partition in answer:
        if partition.error:
            raise translated(partition.error, f"read committed offset of {partition.topic}")
    return {
        (p.topic, p.partition): parse(p.offset, p.metadata) if p.offset >= 0 else None
        for p in answer
    }


def offsets(frontiers: Mapping[Partition, Frontier]) -> list[TopicPartition]:
    """Give frontiers in the form in which the client commits them."""
    return [
        TopicPartition(topic, partition, frontier.offset, frontier.metadata)
        for (topic, partition), frontier in frontiers.items()
    ]


def topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    """Give partitions in the form in which the client takes them."""
    return [TopicPartition(topic, partition) for topic, partition in partitions]
