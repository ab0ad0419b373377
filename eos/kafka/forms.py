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
    return {(p.topic, p.partition): _frontier(p) if p.offset >= 0 else None for p in answer}


def offsets(frontiers: Mapping[Partition, Frontier]) -> list[TopicPartition]:
    """Give frontiers in the form in which the client commits them."""
    return [
        place_of(place, frontier.offset, frontier.leader_epoch, frontier.metadata)
        for place, frontier in frontiers.items()
    ]


def place_of(
    partition: Partition, offset: int, leader_epoch: int, metadata: str = ""
) -> TopicPartition:
    """Give a place in a partition; an epoch below 0 is not known."""
    epoch = () if leader_epoch < 0 else (leader_epoch,)
    return TopicPartition(*partition, offset, metadata, *epoch)


def _frontier(partition: TopicPartition) -> Frontier:
    epoch = partition.leader_epoch
    found = parse(partition.offset, partition.metadata)
    return found._replace(leader_epoch=-1 if epoch is None else epoch)


def topic_partitions(partitions: Iterable[Partition]) -> list[TopicPartition]:
    """Give partitions in the form in which the client takes them."""
    return [TopicPartition(topic, partition) for topic, partition in partitions]
