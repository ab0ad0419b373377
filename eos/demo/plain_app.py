"""The plain loop: at least once, the way librdkafka's own documentation shows it.

Offsets are stored after the effects are where they belong and committed by the client's timer, so
that nothing is lost. What was done since the last commit is done again after a kill.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Protocol

from confluent_kafka import Consumer, Producer

from eos.demo.charges import Charge, charge
from eos.demo.names import MEMBERSHIP, MEMBERSHIP_OF_MOCK, Names

_BATCH = 500
_WAIT_SECONDS = 0.1


class Sink(Protocol):
    """Where effects go."""

    def __call__(self, effects: Sequence[Charge]) -> None:
        """Return once they are there."""


class Topic:
    """Effects are messages."""

    def __init__(self, names: Names) -> None:
        conf = {"bootstrap.servers": names.bootstrap_servers, "enable.idempotence": True}
        self._producer = Producer(conf)
        self._name = names.plain_charges

    def __call__(self, effects: Sequence[Charge]) -> None:
        """Publish them."""
        for effect in effects:
            self._producer.produce(self._name, effect.to_bytes(), effect.order)
        self._producer.flush()


class Table:
    """Effects are rows."""

    def __init__(self, names: Names) -> None:
        self._connection = sqlite3.connect(names.plain_database, timeout=10)

    def __call__(self, effects: Sequence[Charge]) -> None:
        """Insert and commit them."""
        with self._connection:
            self._connection.executemany(
                "INSERT INTO charges VALUES (?, ?, ?, ?)", map(astuple, effects)
            )


class Plain:
    """A loop written on confluent-kafka alone.

    Args:
        sink: Where effects go.
        membership: How it is a member of its group.
    """

    def __init__(self, sink: Callable[[Names], Sink], membership: Mapping[str, int]) -> None:
        self._sink = sink
        self._membership = membership

    def work(self, *, slot: int, stopping: Callable[[], bool]) -> None:
        """Charge orders until asked to stop."""
        names = Names.of_environment()
        consumer = Consumer(
            {
                **self._membership,
                "bootstrap.servers": names.bootstrap_servers,
                "client.id": f"plain-{slot}",
                "group.id": names.plain_group,
                "auto.offset.reset": "earliest",
                "enable.auto.offset.store": False,
            }
        )
        sink = self._sink(names)
        consumer.subscribe([names.orders])
        while not stopping():
            messages = [m for m in consumer.consume(_BATCH, _WAIT_SECONDS) if not m.error()]
            sink([charge(m.value(), m.partition(), m.offset()) for m in messages])
            for message in messages:
                consumer.store_offsets(message)
        consumer.close()


app = Plain(Topic, MEMBERSHIP)
# The mock broker refuses commits while a group rebalances, which Kafka does not: commit often, or
# the loop would look worse than it is.
embedded = Plain(Table, {**MEMBERSHIP_OF_MOCK, "auto.commit.interval.ms": 500})
