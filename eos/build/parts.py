"""The steps that a line and a loop share."""

from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from eos.claim import Claim
from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.consume import Consume
from eos.consume.opening import Opening
from eos.core.events import Emit
from eos.core.keys import standard
from eos.core.ports import NO_INBOXES, Clock, Inbox, Partition, Ports
from eos.core.record import Shard
from eos.core.settings import Settings, duration
from eos.operate.gaps import Mend
from eos.operate.recovery import Recover
from eos.settle import Settle
from eos.settle.beside import Beside
from eos.settle.inbox import Inboxes
from eos.settle.plain import Plain
from eos.settle.step import Told

TRANSACTION_BATCHES = 20
"""At most so many full batches are handled before a transaction settles them."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Between failures in a row, in seconds."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The first steps, put together; what settles outputs is made from them."""

    opening: Opening
    consume: Consume
    identify: Identify
    recover: Recover
    claim: Claim
    plain: Plain


def identify_of(settings: Settings) -> Identify:
    """Make what reads and digests idempotency keys."""
    secret = settings.secret or f"eos derived secret of {settings.namespace}"
    return Identify(
        settings.key or standard,
        Digest(secret.encode()),
        by_partition=settings.scope == "partition",
        group=settings.group,
    )


def parts_of(
    settings: Settings,
    ports: Ports,
    emit: Emit,
    clock: Clock,
    *,
    sources: Sequence[str],
    targets: Sequence[str],
    plain: Container[str],
    audits: bool,
    inboxes: Mapping[str, Inbox] = NO_INBOXES,
    interval: float | None = None,
    start: Callable[[Partition], int | None] = lambda _: None,
) -> Parts:
    """Make the steps that a line and a loop share.

    Args:
        settings: How they run.
        ports: The adapters.
        emit: Told what happens.
        clock: Tells the time.
        sources: The topics to read.
        targets: The topics that are published to by default.
        plain: Those of the topics whose effects lie outside of Kafka.
        audits: Whether there are topics whose audit is a topic: those of the transaction tier.
        inboxes: The databases of those topics whose frontiers are rows.
        interval: Kafka's offsets of plain topics fall behind by at most so many seconds.
        start: Tells where the user wants a partition read from that was just assigned.
    """
    identify = identify_of(settings)

    def shard(topic_id: str) -> Shard:
        return Shard(settings.namespace, settings.group, topic_id)

    def prepare() -> None:
        ports.topics.ensure([settings.dead_letters])
        if audits:
            ports.topics.ensure([settings.audit], retention=settings.audit_retention)

    opening = Opening(
        reader=ports.reader,
        topics=ports.topics,
        ledger=ports.ledger,
        shard=shard,
        plain=plain,
        start=start,
        inboxes=inboxes,
        offsets_reset=settings.offsets_reset,
    )
    consume = Consume(
        reader=ports.reader,
        topics=ports.topics,
        opening=opening,
        sources=sources,
        targets=targets,
        prepare=prepare,
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
        audit=settings.audit,
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
    opening.gaps.mend = Mend(
        ledger=ports.ledger,
        log=ports.log,
        topics=ports.topics,
        recover=recover,
        inboxes=inboxes,
        audit=settings.audit,
        publish=ports.publish,
        stay=consume.stay,
        emit=emit,
        clock=clock,
    )
    if interval is None:
        interval = duration(settings.commit_interval)
    settling = Plain(
        ledger=ports.ledger, consume=consume, interval=interval, emit=emit, clock=clock
    )
    return Parts(opening, consume, identify, recover, claim, settling)


def settle_of(
    settings: Settings,
    ports: Ports,
    parts: Parts,
    emit: Emit,
    clock: Clock,
    beside: Callable[[], Executor] = Beside,
    told: Told = lambda _: None,
) -> Settle:
    """Make the step that settles outputs and offsets together."""
    settle = Settle(
        transactions=ports.transactions,
        plain=parts.plain,
        inboxes=Inboxes(claim=parts.claim, plain=parts.plain, publish=ports.publish),
        consume=parts.consume,
        claim=parts.claim,
        audit=settings.audit,
        beside=beside,
        interval=duration(settings.commit_interval),
        limit=settings.batch_records * TRANSACTION_BATCHES,
        emit=emit,
        clock=clock,
        told=told,
    )
    parts.recover.ending = settle.end
    return settle
