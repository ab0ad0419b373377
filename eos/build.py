"""Settings → a ready line. The only module that knows every adapter."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eos.claim import Claim
from eos.claim.away import when_away
from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.consume import Consume
from eos.consume.opening import Opening
from eos.core.errors import EosError, RetriableError
from eos.core.events import Emit
from eos.core.keys import standard
from eos.core.ports import NO_INBOXES, Clock, Inbox, Ledger, Partition, Ports, Publish
from eos.core.record import Shard
from eos.core.settings import Settings, duration
from eos.handle import Handle, Step
from eos.handle.letters import DeadLetters
from eos.kafka import config
from eos.kafka.letters import KafkaLetters
from eos.kafka.log import KafkaLog
from eos.kafka.loop import LoopReader, Stretch, as_kafka, stretches
from eos.kafka.reader import KafkaReader
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.line import Line
from eos.observe import fan_out
from eos.observe.logs import Logs
from eos.observe.metrics import Metrics
from eos.operate.recovery import Recover
from eos.operate.window import Window
from eos.outbox import Relay, ShardLine
from eos.retry import Backoff
from eos.settle import Settle
from eos.settle.beside import Beside
from eos.settle.inbox import Inboxes
from eos.settle.plain import Plain
from eos.stores.memory.ledger import MemoryLedger
from eos.stores.redis.ledger import RedisLedger
from eos.stores.sql.inbox import SqlInbox
from eos.stores.sql.ledger import SqlLedger
from eos.stores.sql.outbox import SqlOutbox

TRANSACTION_BATCHES = 20
"""At most so many full batches are handled before a transaction settles them."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


def adapters(settings: Settings, slot: int, emit: Emit) -> Ports:
    """Connect to the servers that the settings name; nothing is asked of them yet."""
    reading = config.consumer(settings, slot)
    topics = KafkaTopics(config.client(settings))
    return Ports(
        reader=KafkaReader(reading, config.first_offset(settings)),
        topics=topics,
        log=lambda: KafkaLog(reading, topics),
        ledger=ledger(settings),
        transactions=KafkaTransactions(
            config.producer(settings, settings.transactional_id(slot)), emit
        ),
        publish=KafkaLetters(config.idempotent(settings)),
        inbox=partial(SqlInbox, ledger=settings.ledger),
    )


def observers(settings: Settings, emit: Emit | None) -> Emit:
    """Make the listeners of a line: metrics, logs, and one more if it is given."""
    standard_ones = (Metrics(settings.group), Logs(settings.group))
    return fan_out(*standard_ones, emit) if emit else fan_out(*standard_ones)


def ledger(settings: Settings) -> Ledger:
    """Make the ledger that the settings name."""
    if settings.ledger.startswith("memory:"):
        return MemoryLedger(settings.window_seconds)
    if settings.ledger.startswith(("sqlite:", "postgresql")):
        return SqlLedger(settings.ledger, window=settings.window_seconds)
    return RedisLedger(settings.ledger, window=settings.window_seconds)


def line(
    settings: Settings,
    steps: Sequence[Step],
    ports: Ports,
    emit: Emit,
    *,
    clock: Clock = time,
    beside: Callable[[], Executor] = Beside,
) -> Line:
    """Put the four steps together on these ports.

    Args:
        settings: How the line runs.
        steps: The handlers.
        ports: The adapters.
        emit: Told what happens.
        clock: Tells the time.
        beside: Makes what transactions end in: by default a thread beside the line.
    """
    inboxes = {step.source: ports.inbox(step.into) for step in steps if step.into is not None}
    for inbox in inboxes.values():
        with suppress(RetriableError):  # one that is away is waited for when rows are read
            inbox.check()
    ports = replace(ports, ledger=when_away(settings.ledger_down, ports.ledger, clock))
    parts = _parts(
        settings,
        ports,
        emit,
        clock,
        sources=[step.source for step in steps],
        targets=[step.to for step in steps if step.to is not None],
        plain=[step.source for step in steps if step.plain],
        inboxes=inboxes,
    )
    handle = Handle(
        steps=steps,
        settings=settings,
        max_bytes=config.max_message_bytes(settings),
        ledger=ports.ledger,
        hold=parts.consume.hold,
        emit=emit,
        holds=parts.consume.holds,
        inboxes=inboxes,
        inside=parts.claim.inside,
    )
    settle = _settle(settings, ports, parts, emit, clock, beside)
    parts.consume.revoking = settle.give_back
    window = Window(ports.ledger, parts.consume, emit, clock, inboxes, settings.window_seconds)
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    return Line(parts.consume, parts.claim, handle, settle, window, backoff, emit)


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
    positions = f"{settings.namespace}.positions"

    def shard_line(number: int, membership: Callable[[], object], tell: Emit) -> ShardLine:
        def position() -> int | None:
            found = log.frontiers(positions)[number]
            return None if found is None else found.offset

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


@dataclass(frozen=True, slots=True)
class _Parts:
    opening: Opening
    consume: Consume
    identify: Identify
    claim: Claim
    plain: Plain


def _parts(
    settings: Settings,
    ports: Ports,
    emit: Emit,
    clock: Clock,
    *,
    sources: Sequence[str],
    targets: Sequence[str],
    plain: Container[str],
    inboxes: Mapping[str, Inbox] = NO_INBOXES,
    interval: float | None = None,
    start: Callable[[Partition], int | None] = lambda _: None,
) -> _Parts:
    """Make the steps that a line and a loop share."""
    secret = settings.secret or f"eos derived secret of {settings.namespace}"
    identify = Identify(
        settings.key or standard,
        Digest(secret.encode()),
        by_partition=settings.scope == "partition",
    )

    def shard(topic_id: str) -> Shard:
        return Shard(settings.namespace, settings.group, topic_id)

    opening = Opening(
        reader=ports.reader,
        topics=ports.topics,
        ledger=ports.ledger,
        shard=shard,
        plain=plain,
        start=start,
        inboxes=inboxes,
    )
    consume = Consume(
        reader=ports.reader,
        topics=ports.topics,
        opening=opening,
        sources=sources,
        targets=targets,
        own_topics=[settings.dead_letters],
        batch_records=settings.batch_records,
        batch_wait=duration(settings.batch_wait),
        emit=emit,
        clock=clock,
    )
    recover = Recover(
        ledger=ports.ledger,
        log=ports.log,
        topics=ports.topics,
        shard=shard,
        identify=identify,
        plain=plain,
        inboxes=inboxes,
        window=settings.window_seconds,
        stay=consume.stay,
        emit=emit,
    )
    claim = Claim(
        ledger=ports.ledger,
        identify=identify,
        recover=recover,
        begin=opening.begin,
        settings=settings,
        emit=emit,
    )
    if interval is None:
        interval = duration(settings.commit_interval)
    settling = Plain(
        ledger=ports.ledger, consume=consume, interval=interval, emit=emit, clock=clock
    )
    return _Parts(opening, consume, identify, claim, settling)


def _settle(
    settings: Settings,
    ports: Ports,
    parts: _Parts,
    emit: Emit,
    clock: Clock,
    beside: Callable[[], Executor] = Beside,
) -> Settle:
    return Settle(
        transactions=ports.transactions,
        plain=parts.plain,
        inboxes=Inboxes(claim=parts.claim, plain=parts.plain, publish=ports.publish),
        consume=parts.consume,
        claim=parts.claim,
        beside=beside,
        interval=duration(settings.commit_interval),
        limit=settings.batch_records * TRANSACTION_BATCHES,
        emit=emit,
        clock=clock,
    )


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
    parts = _parts(
        settings,
        ports,
        tell,
        clock,
        sources=(),
        targets=(),
        plain=_Every() if producer is None else (),
        interval=interval,
        start=reader.start,
    )
    return Loop(
        reader=reader,
        opening=parts.opening,
        consume=parts.consume,
        claim=parts.claim,
        plain=parts.plain,
        settle=_settle(settings, ports, parts, tell, clock) if producer else None,
        publish=ports.publish,
        letters=DeadLetters(settings.dead_letters, config.max_message_bytes(settings)),
        window=Window(ports.ledger, parts.consume, tell, clock),
        ledger=ports.ledger,
        backoff=Backoff(_FIRST_PAUSE, _LONGEST_PAUSE),
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
