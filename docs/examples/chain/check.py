"""Counts the money at each place that it passes, and what still waits in the outbox.

Run it when the services have come to rest; exit code 1 if something is lost, or there twice.
"""

import json
import os
import sys
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from sqlalchemy import text

from eos.db import engine_of
from shop import DATABASE, ORDERS, PAYMENTS

Entry = tuple[str, int]
"""What it is of, and how many cents."""


def messages(topic: str) -> Iterator[Message]:
    """Read what is committed in a topic, to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["EOS_BROKERS"],
            "group.id": f"{topic}-check",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    going = set(consumer.list_topics(topic).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in going])
    while going:
        for message in consumer.consume(1000, 0.1):
            if message.error() is None:
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                going.discard(message.partition())
    consumer.close()


def published(topic: str) -> list[Entry]:
    """Give id and amount of each message."""
    return [
        (dict(each.headers())["message-id"].decode(), json.loads(each.value())["cents"])
        for each in messages(topic)
    ]


def rows(statement: str) -> list[Entry]:
    """Give what the database has."""
    with engine_of(DATABASE).connect() as db:
        return [(name, int(cents)) for name, cents in db.execute(text(statement))]


def line(what: str, found: list[Entry]) -> int:
    """Tell of one place; gives its cents."""
    cents = sum(cents for _, cents in found)
    print(f"{what:28} {len(found):8,} {cents:14,} cents")
    return cents


def main() -> None:
    """Compare."""
    ordered = published(ORDERS)
    line("orders as they were sent", ordered)
    sums = {
        line("orders, each once", list(set(ordered))),
        line("charges", rows("SELECT order_id, cents FROM charges")),
        line("messages of payments", published(PAYMENTS)),
        line("postings", rows("SELECT payment_id, cents FROM postings")),
        line("balances", rows("SELECT account, cents FROM balances")),
    }
    waiting = line(
        "wait in the outbox, or dead",
        rows("SELECT message_id, 1 FROM eos_outbox")
        + rows("SELECT message_id, 1 FROM eos_outbox_dead"),
    )
    if len(sums) > 1 or waiting:
        sys.exit("The money is not the same everywhere: lost, twice, or still under way.")
    print("The money is the same everywhere.")


if __name__ == "__main__":
    main()
