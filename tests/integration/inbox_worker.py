"""A process that moves money as records say, and stops or dies at the n-th step of its loop."""

import json
import os
import signal
import sys
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from sqlalchemy import Connection, Engine, create_engine, event, text

import eos


class Steps:
    """Counts what the loop does; each statement, and each call, has a step before and after."""

    def __init__(self, at: int, number: int) -> None:
        self._left, self._signal = at, number

    def __call__(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if self._left == 0:
            sys.stdout.write("here\n")
            sys.stdout.flush()
            os.kill(os.getpid(), self._signal)

    def watch(self, engine: Engine) -> None:
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(engine, name, self)


def transfer(db: Connection, message: Message) -> None:
    order = json.loads(message.value() or b"")
    for sign, account in ((-1, order["from"]), (1, order["to"])):
        db.execute(
            text("UPDATE accounts SET balance = balance + :amount WHERE name = :name"),
            {"amount": sign * order["amount"], "name": account},
        )
    db.execute(
        text("INSERT INTO effects (record, process) VALUES (:record, :process)"),
        {"record": order["id"], "process": os.getpid()},
    )


def main() -> None:
    order = json.loads(sys.argv[1])
    engine = create_engine(order["url"])
    inbox = eos.Inbox(engine, group=order["group"])
    consumer = Consumer(
        {
            "bootstrap.servers": order["brokers"],
            "group.id": order["group"],
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    consumer.assign([TopicPartition(order["topic"], each) for each in range(order["partitions"])])
    inbox.seek(consumer)
    step = Steps(order["at"], getattr(signal, order["signal"]))
    step.watch(engine)
    ended: set[int | None] = set()
    while len(ended) < order["partitions"]:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                ended.add(message.partition())
            continue
        settle(engine, inbox, message)
        step()
        consumer.commit(message=message)
        step()
    consumer.close()


def settle(engine: Engine, inbox: eos.Inbox, message: Message) -> None:
    while True:
        try:
            with engine.begin() as db:
                if inbox.settle(db, message):
                    transfer(db, message)
                return
        except eos.RetriableError:  # SQLite, while a stopped process has its lock
            continue


if __name__ == "__main__":
    main()
