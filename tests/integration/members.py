"""Members of a group that a test moves by hand: to join, and to read from an offset."""

import time
from collections.abc import Collection
from typing import Any

from eos.core.errors import RetriableError
from eos.core.ports import Partition, Revoking
from eos.kafka.reader import KafkaReader
from tests.integration.cluster import SECONDS

PROTOCOLS: dict[str, dict[str, Any]] = {
    "eager": {"partition.assignment.strategy": "range"},
    "cooperative": {},
    "consumer": {"group.protocol": "consumer"},
}
"""How partitions change hands, as settings of a group's members."""


def nobody(_: Collection[Partition]) -> None:
    """Settle nothing."""


def join(reader: KafkaReader, source: str, revoking: Revoking = nobody) -> None:
    """Become a member, and wait for a partition."""
    reader.subscribe([source], revoking)
    deadline = time.monotonic() + SECONDS
    while not reader.assigned():
        assert time.monotonic() < deadline
        reader.poll(10, 0.1)


def flow(reader: KafkaReader, partition: Partition, offset: int) -> None:
    """Read a partition from here, as soon as the client can."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            reader.seek(partition, offset)
        except RetriableError:
            assert time.monotonic() < deadline
            reader.poll(10, 0.1)
        else:
            return
