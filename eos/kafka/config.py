"""librdkafka's configurations, made from the settings."""

import logging
from collections.abc import Mapping
from typing import Any

from eos.core.settings import Settings
from eos.kafka.signs import INTERVAL_MS

TRANSACTION_TIMEOUT_MS = 10_000
"""How long a dead worker's transaction can hold up readers of its outputs."""
SOCKET_TIMEOUT_MS = 10_000
CLIENT_LOG = logging.getLogger("eos.kafka.client")
"""Where librdkafka's own lines go."""
MAX_MESSAGE_BYTES = 1_000_000
"""librdkafka's default of `message.max.bytes`."""
MAX_POLL_INTERVAL_MS = 300_000
"""librdkafka's default of `max.poll.interval.ms`."""

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


def consumer(settings: Settings, slot: int = 0) -> dict[str, Any]:
    """Configure a reader of the group.

    Args:
        settings: The settings; a `group.instance.id` in them makes the workers static members.
        slot: The worker's number: two members with the same `group.instance.id` would throw each
            other out, so each slot has one of its own.
    """
    conf = {
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
    if not _is_server_side(conf):  # there the servers assign, and the client refuses it
        conf.setdefault("partition.assignment.strategy", "cooperative-sticky")
    if name := conf.get("group.instance.id"):
        conf["group.instance.id"] = f"{name}.{slot}"
    return conf


def relay_consumer(settings: Settings) -> dict[str, Any]:
    """Configure a relay's member of the group, which reads nothing: a dead one is missed soon."""
    conf = consumer(settings)
    conf.pop("group.instance.id", None)  # a relay that comes back need not find its shards again
    if not _is_server_side(conf):
        conf = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500, **conf}
    return conf


def is_incremental(conf: Mapping[str, Any]) -> bool:
    """Tell whether rebalances take and give single partitions, not all of them at once."""
    strategy = str(conf.get("partition.assignment.strategy", ""))
    return _is_server_side(conf) or "cooperative" in strategy


def poll_interval(conf: Mapping[str, Any]) -> float:
    """After how many seconds without a poll a member is thrown out of its group."""
    return int(conf.get("max.poll.interval.ms", MAX_POLL_INTERVAL_MS)) / 1000


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
        "statistics.interval.ms": INTERVAL_MS,
    }


def idempotent(settings: Settings) -> dict[str, Any]:
    """Configure a producer without transactions."""
    return {
        "linger.ms": 5,
        **client(settings),
        **_without(settings, _CONSUMER),
        "bootstrap.servers": settings.brokers,
        "enable.idempotence": True,
    }


def first_offset(settings: Settings) -> str:
    """Where a group begins in a partition it never settled anything of."""
    return str(settings.kafka.get("auto.offset.reset", "earliest"))


def max_message_bytes(settings: Settings) -> int:
    """How large a message may be, key, value and headers together."""
    return int(settings.kafka.get("message.max.bytes", MAX_MESSAGE_BYTES))


def _is_server_side(conf: Mapping[str, Any]) -> bool:
    """Tell whether the group is one of KIP-848, whose members take what the servers assign."""
    return str(conf.get("group.protocol", "")).lower() == "consumer"


def _without(settings: Settings, prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in settings.kafka.items() if not k.startswith(prefixes)}
