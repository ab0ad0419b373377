"""What became of the orders, read from the output topics."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from eos.demo.charges import Charge, read


@dataclass(frozen=True, slots=True)
class Tally:
    """The effects of one loop.

    Attributes:
        effects: How many there are.
        distinct: Of how many orders.
        redelivered: How many too many because a record was handled again.
        resent: How many too many because an order was sent again.
        lost: How many orders have none.
    """

    effects: int
    distinct: int
    redelivered: int
    resent: int
    lost: int

    @property
    def duplicates(self) -> int:
        """How many effects are too many."""
        return self.redelivered + self.resent


def tally(charges: Iterable[Charge], orders: int) -> Tally:
    """Count effects, against how many orders were sent."""
    by_record = Counter(charges)
    by_order = Counter(charge.order for charge in by_record)
    effects = by_record.total()
    return Tally(
        effects=effects,
        distinct=len(by_order),
        redelivered=effects - len(by_record),
        resent=len(by_record) - len(by_order),
        lost=orders - len(by_order),
    )


def read_charges(servers: str, topic: str, partitions: int) -> Iterator[Charge]:
    """Read a topic of effects to its end, committed ones only."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"{topic}.tally",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(partitions)])
    ended: set[int | None] = set()
    while len(ended) < partitions:
        for message in consumer.consume(5000, 0.5):
            if (error := message.error()) is None:
                yield read(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 librdkafka's own code
                ended.add(message.partition())
    consumer.close()


def behind(servers: str, group: str, topic: str, partitions: int) -> int:
    """Give how many records a group has yet to settle in a topic without transactions."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False}
    )
    asked = [TopicPartition(topic, number) for number in range(partitions)]
    try:
        return sum(
            consumer.get_watermark_offsets(committed, 10)[1] - max(committed.offset, 0)
            for committed in consumer.committed(asked, 10)
        )
    finally:
        consumer.close()
