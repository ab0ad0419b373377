"""What the steps ask of the world. Adapters in `kafka` and `stores` answer.

An adapter's method is one network call that makes no choice of its own. A server that is away
is a `RetriableError`; everything that is a normal answer is a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from eos.core.ports.audit import MENDED, Audited, Suppressed, gap_entry
from eos.core.ports.databases import NO_INBOXES, Effects, Inbox
from eos.core.ports.ledger import (
    Assertion,
    Claimed,
    Claims,
    Known,
    Ledger,
    Mark,
    Recovery,
    Refused,
    Taken,
)
from eos.core.ports.log import Groups, Log, Partition, Reader, Revoking, Topics
from eos.core.ports.outbox import Backlog, DeadRow, Outbox, Rows, Upkeep
from eos.core.ports.transactions import Append, Publish, Transactions

__all__ = [
    "MENDED",
    "NO_INBOXES",
    "Append",
    "Assertion",
    "Audited",
    "Backlog",
    "Claimed",
    "Claims",
    "Clock",
    "DeadRow",
    "Effects",
    "Groups",
    "Inbox",
    "Known",
    "Ledger",
    "Log",
    "Mark",
    "Outbox",
    "Partition",
    "Ports",
    "Publish",
    "Reader",
    "Recovery",
    "Refused",
    "Revoking",
    "Rows",
    "Suppressed",
    "Taken",
    "Topics",
    "Transactions",
    "Upkeep",
    "gap_entry",
]


class Clock(Protocol):
    """Tells the time; the module `time` is one."""

    def time(self) -> float:
        """Give the seconds since the epoch."""

    def monotonic(self) -> float:
        """Give seconds from any start, which only go forward."""


@dataclass(slots=True)
class Ports:
    """The adapters of one worker."""

    reader: Reader
    topics: Topics
    log: Callable[[], Log]
    ledger: Ledger
    transactions: Transactions
    publish: Publish
    inbox: Callable[[Any], Inbox]
