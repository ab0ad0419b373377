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
from eos.core.keys import header
from eos.core.record import Position, Record, Send
from eos.core.rules import Verdict
from eos.core.settings import Settings
from eos.doors.app import App

__all__ = [
    "AbortableError",
    "App",
    "ConfigError",
    "EosError",
    "FatalError",
    "FencedError",
    "HandlerError",
    "HungError",
    "Position",
    "Record",
    "RetriableError",
    "Send",
    "Settings",
    "Verdict",
    "header",
]
