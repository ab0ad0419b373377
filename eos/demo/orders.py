"""The input: orders, some of them sent twice, spread over the whole of the run."""

import heapq
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Producer

COPIES = 0.06
"""This share of the orders is sent a second time: same id, another offset."""
ELSEWHERE = 0.5
"""This share of the copies goes to another partition than the first."""
LATEST_COPY = 0.1
"""A copy follows its original after at most this share of the run."""

_TICK_SECONDS = 0.02


@dataclass(frozen=True, slots=True, order=True)
class Sending:
    """One message to be sent.

    Attributes:
        at: When, as a share of the run.
        number: Numbers the order.
        partition: Where to.
        copy: Whether it is the second of its order.
    """

    at: float
    number: int
    partition: int
    copy: bool


def plan(orders: int, seed: int, partitions: int) -> Iterator[Sending]:
    """Give what is sent when, in order of time."""
    random_ = random.Random(seed)
    copies: list[Sending] = []
    for number in range(orders):
        at, partition = number / orders, random_.randrange(partitions)
        while copies and copies[0].at <= at:
            yield heapq.heappop(copies)
        yield Sending(at, number, partition, copy=False)
        if random_.random() < COPIES:
            elsewhere = random_.random() < ELSEWHERE
            other = (partition + random_.randrange(1, partitions)) % partitions
            later = min(at + random_.random() * LATEST_COPY, 1.0)
            heapq.heappush(
                copies, Sending(later, number, other if elsewhere else partition, copy=True)
            )
    while copies:
        yield heapq.heappop(copies)


def order_id(number: int) -> str:
    """Name an order."""
    return f"order-{number:09d}"


class Publisher(threading.Thread):
    """Publishes orders at an even pace.

    Args:
        servers: Kafka.
        topic: Where to.
        plan: What is sent when.
        seconds: How long all of it takes.

    Attributes:
        sent: How many messages were sent.
        orders: How many of them were the first of their order.
        failure: What went wrong, if anything did.
    """

    def __init__(self, servers: str, topic: str, plan: Iterator[Sending], seconds: float) -> None:
        super().__init__(name="publisher", daemon=True)
        self._servers = servers
        self._topic = topic
        self._plan = plan
        self._seconds = seconds
        self.sent = 0
        self.orders = 0
        self.failure: str | None = None

    def run(self) -> None:
        """Publish it all."""
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "on_delivery": self._delivered,
            }
        )
        began = time.monotonic()
        for sending in self._plan:
            while (early := began + sending.at * self._seconds - time.monotonic()) > 0:
                producer.poll(0)
                time.sleep(min(early, _TICK_SECONDS))
            identity = order_id(sending.number)
            value = json.dumps({"order": identity, "cents": 100 + sending.number % 9900})
            producer.produce(
                self._topic,
                value,
                identity,
                partition=sending.partition,
                headers=[("message-id", identity)],
            )
            self.sent += 1
            self.orders += not sending.copy
        if left := producer.flush(30):
            self.failure = self.failure or f"{left} orders could not be published"

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self.failure = str(error)
