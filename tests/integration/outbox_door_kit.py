"""What tests of the outbox's doors share: relays in threads, rows, and what became of them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from sqlalchemy import Engine, text
from typer.testing import CliRunner

import eos
from eos.cli.main import app
from eos.core.events import Event, ShardOpened
from eos.core.outbox import SHARDS
from eos.devstack.waiting import wait_until
from eos.stores.sql import outbox_tables
from eos.stores.sql.outbox import SqlOutbox
from tests.integration.cluster import SECONDS, Cluster

_OUTBOX_TABLES = [
    outbox_tables.outbox,
    outbox_tables.scheduled,
    outbox_tables.published,
    outbox_tables.dead,
    outbox_tables.shards,
]
SOON = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}


class Running:
    """A relay that runs in a thread.

    Attributes:
        events: What it told so far.
        failure: What ended it, though nobody asked it to stop.
    """

    def __init__(self, app: eos.App) -> None:
        self.events: list[Event] = []
        self.failure: BaseException | None = None
        self._app = app
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def told(self, kind: type, **fields: Any) -> list[Any]:
        """Give the events of one kind with these fields."""
        return [
            event
            for event in list(self.events)
            if isinstance(event, kind)
            and all(getattr(event, name) == value for name, value in fields.items())
        ]

    def has_all(self) -> bool:
        """Tell whether it has taken over every shard."""
        return {event.shard for event in self.told(ShardOpened)} == set(range(SHARDS))

    def stop(self) -> None:
        """Have it stop, and wait for its end."""
        self._stop.set()
        self._thread.join(2 * SECONDS)
        assert not self._thread.is_alive()

    def fails(self) -> BaseException:
        """Wait until it has failed, and give the reason."""
        self._thread.join(2 * SECONDS)
        assert self.failure is not None, self.events
        return self.failure

    def _run(self) -> None:
        try:
            self._app.work(stopping=self._stop.is_set, emit=self.events.append)
        except BaseException as error:  # noqa: BLE001 the test looks at it
            self.failure = error


def relay_app(brokers: str, namespace: str, outbox: Any, **settings: Any) -> eos.App:
    """Make an app that does nothing but relay."""
    kafka = {**SOON, **settings.pop("kafka", {})}
    made = eos.App(group=namespace, namespace=namespace, brokers=brokers, kafka=kafka, **settings)
    made.relay(outbox, poll="200ms")
    return made


@contextmanager
def relaying(brokers: str, namespace: str, outbox: Any, **settings: Any) -> Iterator[Running]:
    """Run a relay for as long as the block lasts; it must not have failed by then."""
    running = Running(relay_app(brokers, namespace, outbox, **settings))
    try:
        yield running
    finally:
        running.stop()
    assert running.failure is None, running.failure


def refused(brokers: str, namespace: str, outbox: Any, **settings: Any) -> BaseException:
    """Run a relay that must end by itself, and give the reason."""
    running = Running(relay_app(brokers, namespace, outbox, **settings))
    try:
        return running.fails()
    finally:
        running.stop()


def add(engine: Engine, topic: str, *values: str, key: str | None = "k") -> None:
    """Add messages in one transaction."""
    with engine.begin() as db:
        eos.Outbox(engine).add_all(db, [eos.Send(value, topic, key) for value in values])


def count(engine: Engine, table: str = "eos_outbox") -> int:
    """Count the rows of a table."""
    with engine.connect() as db:
        return int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608


def column(engine: Engine, what: str, table: str) -> list[Any]:
    """Give a column of all rows, by id."""
    with engine.connect() as db:
        statement = text(f"SELECT {what} FROM {table} ORDER BY id")  # noqa: S608
        return list(db.execute(statement).scalars())


def progress(engine: Engine) -> dict[int, tuple[int, str]]:
    """Give for each shard the number of its last batch, and the recorded ids."""
    with engine.connect() as db:
        rows = db.execute(text("SELECT shard, sent, recorded FROM eos_outbox_shards")).all()
    return {shard: (sent, recorded) for shard, sent, recorded in rows}


def await_that(condition: Callable[[], bool], what: str, seconds: float = 2 * SECONDS) -> None:
    """Wait for what must come."""
    assert wait_until(condition, seconds=seconds, every=0.1), f"waited in vain for {what}"


def await_empty(engine: Engine) -> None:
    """Wait until all that was to be published now is, and is marked."""

    def is_empty() -> bool:
        return not count(engine) and not any(ids for _, ids in progress(engine).values())

    await_that(is_empty, "an empty outbox")


def published(cluster: Cluster, topic: str) -> list[str]:
    """Give the values in a topic, in the order of each partition."""
    return [(message.value() or b"").decode() for message in cluster.read_committed(topic)]


def headers(message: Message) -> dict[str, str]:
    """Give a message's headers as text."""
    found: Sequence[tuple[str, Any]] = message.headers() or []  # type: ignore[assignment]
    return {name: value.decode() for name, value in found}


def now() -> float:
    """Give seconds since the epoch."""
    return time.time()


class Offsets:
    """The positions of an outbox's shards, as somebody with rights may change them.

    Args:
        brokers: Where Kafka is.
        namespace: Under which the outbox is relayed.
    """

    def __init__(self, brokers: str, namespace: str) -> None:
        self.group, self.topic = f"{namespace}.relay", f"{namespace}.positions"
        self._admin = AdminClient({"bootstrap.servers": brokers, "log_level": 3})

    def forget(self) -> None:
        """Delete them, as the brokers do with a group that had no members for a week."""

        def gone() -> bool:
            with suppress(KafkaException):  # members are leaving
                self._admin.delete_consumer_groups([self.group])[self.group].result(SECONDS)
                return True
            return False

        await_that(gone, "the end of the group")

    def reset(self, **offsets: int) -> None:
        """Set some: `reset(s0=3)`."""
        wanted = [TopicPartition(self.topic, int(name[1:]), to) for name, to in offsets.items()]
        asked = ConsumerGroupTopicPartitions(self.group, wanted)
        [answer] = self._admin.alter_consumer_group_offsets([asked]).values()
        assert all(each.error is None for each in answer.result(SECONDS).topic_partitions)

    def delete_topic(self) -> None:
        """Delete the topic of positions, and with it the positions."""
        self._admin.delete_topics([self.topic])[self.topic].result(SECONDS)
        await_that(
            lambda: self.topic not in self._admin.list_topics(timeout=SECONDS).topics,
            "the end of the topic",
        )


def record(engine: Engine) -> None:
    """Record a batch in every shard that has rows, as a relay does that dies right behind it."""
    for number in range(SHARDS):
        rows = SqlOutbox(engine).shard(number)
        known = rows.progress()
        rows.record(known, 500, published=False)
        rows.close()


def backup(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Copy the tables of the outbox."""
    with engine.connect() as db:
        return {
            table.name: [dict(row) for row in db.execute(table.select()).mappings()]
            for table in _OUTBOX_TABLES
        }


def restore(engine: Engine, copy: dict[str, list[dict[str, Any]]]) -> None:
    """Put a copy of the tables back."""
    with engine.begin() as db:
        for table in _OUTBOX_TABLES:
            db.execute(table.delete())
            if copy[table.name]:
                db.execute(table.insert(), copy[table.name])


def command(*arguments: str) -> tuple[int, str]:
    """Run a command of `eos`; give its exit code and all that it said."""
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def url_of(engine: Engine) -> str:
    """Give the URL of a database as a user writes it."""
    return engine.url.render_as_string(hide_password=False)
