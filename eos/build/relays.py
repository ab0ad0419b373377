"""The relay of an outbox."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from eos.core.errors import FatalError
from eos.core.events import Emit
from eos.core.outbox import SHARDS, ShardPosition, position_of
from eos.core.settings import Settings
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.kafka.reader import KafkaReader
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.operate.outbox import Resolve
from eos.outbox import Relay, ShardLine
from eos.stores.sql.outbox import SqlOutbox
from eos.stores.sql.outbox_upkeep import SqlUpkeep


def positions_of(namespace: str) -> str:
    """Name the topic whose committed offsets are the shards' positions."""
    return f"{namespace}.positions"


def relay_settings(settings: Settings) -> Settings:
    """Give the settings of an app's relays: their group is one of its own."""
    return replace(settings, group=f"{settings.namespace}.relay")


def upkeep(database: Any) -> SqlUpkeep:
    """Give an outbox as its operator sees it."""
    return SqlUpkeep(database)


def resolve(settings: Settings, database: Any) -> Resolve:
    """Make what resolves shards that a relay refuses.

    Args:
        settings: How the servers are reached; the group is that of the relays.
        database: As for `relay`.
    """
    topics = KafkaTopics(config.client(settings))
    log = KafkaLog(config.relay_consumer(settings), topics)
    positions = positions_of(settings.namespace)

    def fence(shard: int) -> None:
        conf = config.producer(settings, f"{settings.group}.{shard}")
        transactions = KafkaTransactions(conf, lambda _: None)
        try:
            transactions.prepare()
        finally:
            transactions.close()

    def position(shard: int) -> ShardPosition | None:
        topics.ensure([positions], SHARDS)  # one that was deleted holds no position
        return position_of(log.frontiers(positions)[shard])

    return Resolve(SqlUpkeep(database), fence, position)


def relay(
    settings: Settings,
    database: Any,
    emit: Emit,
    *,
    poll: float,
    keep: float = 0.0,
) -> Relay:
    """Make a relay.

    Args:
        settings: How the servers are reached; the group is that of the relays.
        database: An engine of SQLAlchemy with the outbox's tables.
        emit: Told what happens.
        poll: Rows are looked for at least this often, in seconds.
        keep: For how long published rows are kept, in seconds.
    """
    reading = config.relay_consumer(settings)
    topics = KafkaTopics(config.client(settings))
    log = KafkaLog(reading, topics)
    outbox = SqlOutbox(database, keep)
    positions = positions_of(settings.namespace)

    def shard_line(number: int, membership: Callable[[], object], tell: Emit) -> ShardLine:
        def position() -> ShardPosition | None:
            if not topics.exists(positions):
                raise FatalError(
                    f"topic {positions!r}, whose offsets say what was published, was deleted. "
                    "Start the relay again: it makes the topic anew, and if a batch was under way "
                    "it says what to do"
                )
            return position_of(log.frontiers(positions)[number])

        transactional_id = f"{settings.group}.{number}"
        return ShardLine(
            number,
            rows=outbox.shard(number),
            transactions=KafkaTransactions(config.producer(settings, transactional_id), tell),
            position=position,
            membership=membership,
            at=(positions, number),
            topics=topics,
            limit=settings.batch_records,
            max_bytes=config.max_message_bytes(settings),
            emit=tell,
        )

    return Relay(
        outbox=outbox,
        namespace=settings.namespace,
        positions=positions,
        reader=KafkaReader(reading, "earliest"),
        topics=topics,
        line=shard_line,
        poll=poll,
        emit=emit,
    )
