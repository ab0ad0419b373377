"""What the tests of the inbox share: a database, a log, and a loop's one step."""

from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from sqlalchemy import Engine, text

import eos
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.inbox_kinds import EFFECT


class Log:
    """A topic with records in it, and a consumer that reads them again and again.

    Attributes:
        topic: The topic's name.
    """

    def __init__(self, cluster: Cluster, topic: str, group: str) -> None:
        self._cluster, self.topic, self.group = cluster, topic, group
        self._open: list[Consumer] = []

    def send(self, *values: str, partition: int = 0, id: str | None = None) -> None:  # noqa: A002
        self._cluster.send(self.topic, [Input(id, partition, each.encode()) for each in values])

    def consumer(self, *partitions: int, **conf: Any) -> Consumer:
        """A consumer that has these partitions, by default 0."""
        made = Consumer(
            {
                "bootstrap.servers": self._cluster.bootstrap_servers,
                "group.id": self.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                **conf,
            }
        )
        made.assign([TopicPartition(self.topic, each) for each in partitions or (0,)])
        self._open.append(made)
        return made

    def close(self) -> None:
        for each in self._open:
            each.close()


def read(consumer: Consumer, count: int) -> list[Message]:
    """Read so many records, whatever events come before."""
    found: list[Message] = []
    while len(found) < count:
        message = consumer.poll(SECONDS)
        assert message is not None, "nothing more came"
        if message.error() is None:
            found.append(message)
    return found


def begun(engine: Engine, log: Log, **settings: Any) -> tuple[eos.Inbox, Consumer]:
    inbox = eos.Inbox(engine, group=log.group, **settings)
    consumer = log.consumer()
    inbox.seek(consumer)
    return inbox, consumer


def settle(engine: Engine, inbox: eos.Inbox, message: Any) -> bool:
    """Settle a record and have its effect, as a loop does."""
    with engine.begin() as db:
        fresh = inbox.settle(db, message)
        if fresh:
            db.execute(text(EFFECT))
        return fresh


def effects(engine: Engine) -> int:
    with engine.connect() as db:
        return int(db.execute(text("SELECT count(*) FROM effects")).scalar() or 0)
