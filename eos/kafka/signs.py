"""Signs that a request's fate may be unknown, in what the client tells unasked.

librdkafka mends a broken connection by itself and repeats what was under way: a call into a
transaction then succeeds, and its first request may still be on its way. Its log tells of that
within a millisecond, its statistics within their interval; no error does.
"""

import json
import logging
from typing import Any

from eos.core.supervisor import Seen, Supervisor

INTERVAL_MS = 1000
"""How often the client counts: 0.1 ms of work each time, more with very many partitions."""

_BAD_SIGNS = ("Disconnected", "timed out", "Timed out")
_COUNTERS = ("req_timeouts", "disconnects")


class Watch(logging.Handler):
    """Looks at the client's log."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(logging.INFO)
        self._supervisor = supervisor

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line. Librdkafka calls this from within a call of ours."""
        if any(sign in record.getMessage() for sign in _BAD_SIGNS):
            self._supervisor.see(Seen.DISCONNECTED)


class Statistics:
    """Compares what one client has counted with what it had counted at the last look.

    `txretries` is no sign: it counts every transaction that had to wait for the one before to be
    quite over, which is nearly each. Requests to end a transaction are: more of them than
    transactions that ended means that one was sent again.

    Attributes:
        ended: How many transactions of this client came to their end so far.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._last: dict[tuple[str, str], int] = {}
        self.ended = 0

    def __call__(self, text: str) -> None:
        """Look at the client's statistics. Librdkafka calls this from within a call of ours."""
        brokers: dict[str, dict[str, Any]] = json.loads(text)["brokers"]
        for name, broker in brokers.items():
            for counter in _COUNTERS:
                count = int(broker.get(counter, 0))
                if count > self._last.get((name, counter), 0):
                    self._supervisor.see(Seen.COUNTED)
                self._last[name, counter] = count
        asked = sum(int(broker.get("req", {}).get("EndTxn", 0)) for broker in brokers.values())
        if asked > self.ended:
            self._supervisor.see(Seen.COUNTED)
