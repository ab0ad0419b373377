"""Sends orders, and some of them twice, as a producer does that got no answer and tries again.

Usage: python orders.py COUNT [FIRST]
"""

import json
import os
import random
import sys

from confluent_kafka import Producer

from shop import ORDERS

ACCOUNTS = 7
COPIES = 0.2


def order(number: int) -> dict[str, object]:
    """Give the order of a number."""
    return {"id": f"order-{number}", "account": f"account-{number % ACCOUNTS}", "cents": number}


def send(producer: Producer, number: int) -> None:
    """Send it; `message-id` is what makes a copy recognisable."""
    made = order(number)
    producer.produce(
        ORDERS,
        json.dumps(made),
        key=str(made["account"]),
        headers={"message-id": str(made["id"])},
    )


def main(count: int, first: int = 1) -> None:
    """Send so many orders, from this number on."""
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    producer = Producer(
        {"bootstrap.servers": os.environ["EOS_BROKERS"], "enable.idempotence": True}
    )
    copies = 0
    for number in range(first, first + count):
        send(producer, number)
        if chance.random() < COPIES:
            send(producer, chance.randint(max(first, number - 20), number))
            copies += 1
        producer.poll(0)
    if left := producer.flush(60):
        sys.exit(f"{left} orders could not be sent: send them all again")
    print(f"{count} orders, {copies} of them twice (seed {seed})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
