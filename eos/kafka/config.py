"""librdkafka's configurations, made from the settings."""

import logging
from typing import Any

from eos.core.settings import Settings

TRANSACTION_TIMEOUT_MS = 10_000
"""How long a dead worker's transaction can hold up readers of its outputs."""
SOCKET_TIMEOUT_MS = 10_000
CLIENT_LOG = logging.getLogger("eos.kafka.client")
"""Where librdkafka's own lines go."""
MAX_MESSAGE_BYTES = 1_000_000
"""librdkafka's default of `message.max.bytes`."""

# Settings that only one kind of client knows; the other would warn of each of them.
_CONSUMER = (
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "group.",
    "fetch.",
    "queued.",
    "max.partition.fetch.bytes",
    "auto.offset.reset",
    "auto.commit.interval.ms",
    "enable.auto.commit",
    "isolation.level",
    "check.crcs",
    "client.rack",
)
_PRODUCER = (
    "linger.ms",
    "batch.",
    "compression.",
    "acks",
    "request.required.acks",
    "retries",
    "message.send.max.retries",
    "enable.idempotence",
    "queue.buffering.",
    "partitioner",
    "sticky.partitioning.linger.ms",
    "request.timeout.ms",
    "max.in.flight",
)


def client(settings: Settings) -> dict[str, Any]:
    """Configure what every client shares."""
    return {
        "socket.timeout.ms": SOCKET_TIMEOUT_MS,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 60_000,
        **_without(settings, _CONSUMER + _PRODUCER),
        "bootstrap.servers": settings.brokers,
    }


def consumer(settings: Settings) -> dict[str, Any]:
    """Configure a reader of the group."""
    return {
        "partition.assignment.strategy": "cooperative-sticky",
        # After a pause and a seek the client looks at a partition again only after the first of
        # these (default 1 s), and behind a fetch that waits for the second (default 0.5 s).
        "fetch.queue.backoff.ms": 20,
        "fetch.wait.max.ms": 100,
        **client(settings),
        **_without(settings, _PRODUCER),
        "bootstrap.servers": settings.brokers,
        "group.id": settings.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # It also makes reads of committed offsets stable (KIP-447).
        "isolation.level": "read_committed",
        # Where to begin is decided when a partition is opened. Later a position out of range is
        # a gap in the log, which nobody may skip in silence.
        "auto.offset.reset": "error",
    }


def producer(settings: Settings, transactional_id: str) -> dict[str, Any]:
    """Configure a transactional producer."""
    return {
        "linger.ms": 5,
        "queue.buffering.max.kbytes": 1_048_576,
        "queue.buffering.max.messages": 500_000,
        **client(settings),
        **_without(settings, _CONSUMER),
        "bootstrap.servers": settings.brokers,
        "transactional.id": transactional_id,
        # `rebootstrap`, the default since librdkafka 2.11, gives the coordinator up when all
        # brokers are away at once, and with it the request under way: a call into a transaction
        # then never returns, whatever its time-out.
        "metadata.recovery.strategy": "none",
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "message.timeout.ms": TRANSACTION_TIMEOUT_MS,
        # AddOffsets and EndTxn wait this long whenever the transaction before is not quite over.
        "retry.backoff.ms": 20,
        "delivery.report.only.error": True,
    }


def first_offset(settings: Settings) -> str:
    """Where a group begins in a partition it never settled anything of."""
    return str(settings.kafka.get("auto.offset.reset", "earliest"))


def max_message_bytes(settings: Settings) -> int:
    """How large a message may be, key, value and headers together."""
    return int(settings.kafka.get("message.max.bytes", MAX_MESSAGE_BYTES))


def _without(settings: Settings, prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in settings.kafka.items() if not k.startswith(prefixes)}
