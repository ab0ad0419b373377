"""What is below a loop of the user's own."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from eos.build.parts import FIRST_PAUSE, LONGEST_PAUSE, parts_of, settle_of
from eos.build.servers import ledger, observers
from eos.claim import Claim
from eos.claim.away import when_away
from eos.claim.keys import Identify
from eos.consume import Consume
from eos.consume.opening import Opening
from eos.core.errors import EosError
from eos.core.events import Emit
from eos.core.ports import Clock, Ledger, Ports, Publish
from eos.core.settings import Settings
from eos.handle.letters import DeadLetters
from eos.kafka import config
from eos.kafka.letters import KafkaLetters
from eos.kafka.log import KafkaLog
from eos.kafka.loop import LoopReader, Stretch, as_kafka, stretches
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.operate.window import Window
from eos.retry import Backoff
from eos.settle import Settle
from eos.settle.plain import Plain
from eos.stores.sql.inbox import SqlInbox


@dataclass(frozen=True, slots=True)
class Loop:
    """What is below a loop of the user's own.

    Attributes:
        reader: The member of the group; its `client` is confluent-kafka's own consumer.
        opening: Moves frontiers back where the user announces a replay.
        consume: Reads batches.
        claim: Leaves in a batch what is to be handled.
        plain: Settles effects that lie outside of Kafka.
        settle: Settles outputs and offsets together; None in the plain tier.
        publish: Publishes a dead letter of the plain tier.
        letters: Makes dead letters.
        window: Lets the ledger forget what no window needs any more.
        ledger: Told what begins.
        backoff: Pauses between failures in a row.
        emit: Told what happens.
        identify: Names records.
        stretches: Sorts messages by partition.
        as_client_error: Gives an error in the form in which the client itself tells it.
    """

    reader: LoopReader
    opening: Opening
    consume: Consume
    claim: Claim
    plain: Plain
    settle: Settle | None
    publish: Publish
    letters: DeadLetters
    window: Window
    ledger: Ledger
    backoff: Backoff
    emit: Emit
    identify: Identify
    stretches: Callable[[Sequence[Any]], list[Stretch]] = stretches
    as_client_error: Callable[[EosError], Exception] = as_kafka


def loop(
    settings: Settings,
    *,
    callbacks: Mapping[str, Any],
    interval: float,
    producer: tuple[Settings, str] | None,
    client: Any = None,
    emit: Emit | None = None,
    clock: Clock = time,
) -> Loop:
    """Make what is below a loop of the user's own; nothing is asked of the servers yet.

    Args:
        settings: How the line runs.
        callbacks: What only the client itself is configured with.
        interval: Kafka's offsets fall behind by at most so many seconds.
        producer: A producer's settings and transactional id; None: the plain tier.
        client: A `confluent_kafka.Consumer` that somebody else made.
        emit: Told what happens, beside metrics and logs.
        clock: Tells the time.
    """
    tell = observers(settings, emit)
    reading = config.consumer(settings)
    callbacks = {**callbacks, **_member(settings)}
    reader = LoopReader({**reading, **callbacks}, config.first_offset(settings), client)
    topics = KafkaTopics(config.client(settings))
    outputs, transactional_id = producer or (settings, settings.transactional_id(0))
    publishing = config.producer(outputs, transactional_id)
    ports = Ports(
        reader=reader,
        topics=topics,
        log=lambda: KafkaLog(reading, topics),
        ledger=when_away(settings.ledger_down, ledger(settings), clock),
        transactions=KafkaTransactions(publishing, tell),
        publish=KafkaLetters(config.idempotent(settings)),
        inbox=partial(SqlInbox, ledger=settings.ledger),
    )
    parts = parts_of(
        settings,
        ports,
        tell,
        clock,
        sources=(),
        targets=(),
        plain=_Every() if producer is None else (),
        audits=producer is not None,
        interval=interval,
        start=reader.start,
    )
    return Loop(
        reader=reader,
        opening=parts.opening,
        consume=parts.consume,
        claim=parts.claim,
        plain=parts.plain,
        settle=settle_of(settings, ports, parts, tell, clock) if producer else None,
        publish=ports.publish,
        letters=DeadLetters(
            settings.dead_letters, config.max_message_bytes(settings), settings.group
        ),
        window=Window(ports.ledger, parts.consume, tell, clock),
        ledger=ports.ledger,
        backoff=Backoff(FIRST_PAUSE, LONGEST_PAUSE),
        emit=tell,
        identify=parts.identify,
    )


def _member(settings: Settings) -> dict[str, Any]:
    """Give the name of a static member as the user wrote it: his loop is one member."""
    name = settings.kafka.get("group.instance.id")
    return {} if name is None else {"group.instance.id": name}


class _Every(Container[str]):
    """Holds every topic: what a loop subscribes to is known later."""

    def __contains__(self, _topic: object) -> bool:
        return True
