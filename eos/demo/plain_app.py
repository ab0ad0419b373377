"""The plain loop: at least once, the way librdkafka's own documentation shows it.

Offsets are stored after the effects were delivered and committed by the client's timer, so that
nothing is lost. What was done since the last commit is done again after a kill.
"""

from collections.abc import Callable

from confluent_kafka import Consumer, Producer

from eos.demo.charges import charge
from eos.demo.names import MEMBERSHIP, Names

_BATCH = 500
_WAIT_SECONDS = 0.1


class Plain:
    """A consume-produce loop written on confluent-kafka alone."""

    def work(self, *, slot: int, stopping: Callable[[], bool]) -> None:
        """Charge orders until asked to stop."""
        names = Names.of_environment()
        consumer = Consumer(
            {
                **MEMBERSHIP,
                "bootstrap.servers": names.bootstrap_servers,
                "client.id": f"plain-{slot}",
                "group.id": names.plain_group,
                "auto.offset.reset": "earliest",
                "enable.auto.offset.store": False,
            }
        )
        producer = Producer(
            {"bootstrap.servers": names.bootstrap_servers, "enable.idempotence": True}
        )
        consumer.subscribe([names.orders])
        while not stopping():
            messages = [m for m in consumer.consume(_BATCH, _WAIT_SECONDS) if not m.error()]
            for message in messages:
                effect = charge(
                    message.value() or b"", message.partition() or 0, message.offset() or 0
                )
                producer.produce(names.plain_charges, effect, message.key())
            producer.flush()
            for message in messages:
                consumer.store_offsets(message)
        consumer.close()


app = Plain()
