"""eos: exactly-once delivery middleware for Kafka.

The log is the truth, the ledger an index over it. See `docs/design.md`.
"""

from eos.core.errors import (
    AbortableError,
    ConfigError,
    EosError,
    FatalError,
    FencedError,
    HandlerError,
    HungError,
    RetriableError,
)
from eos.core.keys import cloudevent, header, json_path, payload_hash
from eos.core.record import Position, Record, Send
from eos.core.rules import Verdict
from eos.core.settings import Settings
from eos.doors.app import App
from eos.doors.consumer import Claim, Consumer, wrap
from eos.doors.inbox import ConflictError, Inbox
from eos.doors.outbox import Outbox

__all__ = [
    "AbortableError",
    "App",
    "Claim",
    "ConfigError",
    "ConflictError",
    "Consumer",
    "EosError",
    "FatalError",
    "FencedError",
    "HandlerError",
    "HungError",
    "Inbox",
    "Outbox",
    "Position",
    "Record",
    "RetriableError",
    "Send",
    "Settings",
    "Verdict",
    "cloudevent",
    "header",
    "json_path",
    "payload_hash",
    "wrap",
]
