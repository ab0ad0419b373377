"""The load of a chaos: keyed records at an even pace, some of them sent again."""

import heapq
import random
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Producer

PARTITIONS = 4
KEYS = 40
COPIES = 0.25
"""This share of the records is sent a second time: same id, key and value, another offset."""
LATEST_COPY = 60
"""A copy follows its original after at most so many records."""
_PATIENCE_SECONDS = 180.0


class Sending(NamedTuple):
    """One record to be sent."""

    id: str
    key: str
    partition: int


def plan(seed: int, count: int, *, across: bool) -> Iterator[Sending]:
    """Give what is sent, in order.

    Args:
        seed: Of keys and copies.
        count: How many distinct records there are.
        across: Whether half of the copies go to another partition.
    """
    chance = random.Random(seed)
    due: list[tuple[int, Sending]] = []
    for number in range(count):
        while due and due[0][0] <= number:
            yield heapq.heappop(due)[1]
        key = chance.randrange(KEYS)
        record = Sending(f"id-{number}", f"key-{key}", key % PARTITIONS)
        yield record
        if chance.random() < COPIES:
            move = chance.randrange(1, PARTITIONS) if across and chance.random() < 1 / 2 else 0
            copy = record._replace(partition=(record.partition + move) % PARTITIONS)
            heapq.heappush(due, (number + chance.randrange(1, LATEST_COPY), copy))
    for _, copy in sorted(due):
        yield copy


class Publisher(threading.Thread):
    """Sends it all, in so many seconds.

    Attributes:
        enough: Set it to end the load sooner.
        failure: What went wrong, if anything did.
    """

    def __init__(
        self, servers: str, topic: str, seed: int, *, seconds: float, rate: int, across: bool
    ) -> None:
        super().__init__(name="load", daemon=True)
        self._servers = servers
        self._topic = topic
        self._rate = rate
        self._plan = plan(seed, int(seconds * rate), across=across)
        self.enough = threading.Event()
        self.failure: object = None

    def run(self) -> None:
        """Send."""
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "enable.idempotence": True,
                "message.timeout.ms": int(_PATIENCE_SECONDS * 1000),
                "linger.ms": 5,
                "log_level": 3,
                "on_delivery": self._delivered,
            }
        )
        began = time.monotonic()
        # Copies go out beside their time: only distinct records are counted.
        sent: set[str] = set()
        for record in self._plan:
            sent.add(record.id)
            while len(sent) > (time.monotonic() - began) * self._rate:
                producer.poll(0)
                time.sleep(0.01)
            if self.enough.is_set():
                break
            producer.produce(
                self._topic,
                record.id,
                record.key,
                partition=record.partition,
                headers=[("message-id", record.id)],
            )
        if left := producer.flush(_PATIENCE_SECONDS):
            self.failure = self.failure or f"{left} records could not be sent"

    def _delivered(self, error: object, _message: object) -> None:
        self.failure = self.failure or error
