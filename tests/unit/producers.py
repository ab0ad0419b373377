"""A producer that does what a test has planned: what brokers would have to be broken for."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from eos.core.events import Event, ProducerRecreated
from eos.core.frontier import Frontier
from eos.kafka.transactions import KafkaTransactions

CONF = {
    "transactional.id": "ns.host.0",
    "transaction.timeout.ms": 10_000,
    "socket.timeout.ms": 10_000,
}


class Producers:
    """Makes producers that do what a test has planned, and notes what they were asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.plan: dict[str, list[Exception | Callable[[], None]]] = defaultdict(list)
        self.left = 0
        self.logger: Any = None
        self.stats_cb: Any = None
        self.on_delivery: Any = None

    def __call__(
        self, _conf: Any, *, logger: Any, on_delivery: Any, error_cb: Any, stats_cb: Any
    ) -> "Producers":
        assert callable(error_cb)
        self.logger, self.on_delivery, self.stats_cb = logger, on_delivery, stats_cb
        self.calls.append("make")
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_args: Any, **_kwargs: Any) -> int:
            self.calls.append(name)
            if self.plan[name]:
                step = self.plan[name].pop(0)
                if isinstance(step, Exception):
                    raise step
                step()
            return self.left

        return call

    def fails(self, method: str, code: int, **flags: bool) -> None:
        """Plan that the next call of a method fails."""
        self.plan[method].append(KafkaException(KafkaError(code, "planned", **flags)))

    def disconnect(self) -> None:
        self.logger.log(logging.INFO, "broker 1: Disconnected (after 2 ms in state UP)")

    def counts(self, **counters: int) -> None:
        """Tell statistics, as the client does from within a call."""
        requests = {"EndTxn": counters.pop("end_txn", 0)}
        broker = {**counters, "req": requests, "txretries": 1000}
        self.stats_cb(json.dumps({"brokers": {"TxnCoordinator": broker}, "topics": {}}))

    def not_delivered(self, code: int = KafkaError.MSG_SIZE_TOO_LARGE) -> None:
        class Message:
            def topic(self) -> str:
                return "receipts"

        self.on_delivery(KafkaError(code), Message())

    def count(self, call: str) -> int:
        return self.calls.count(call)


def transactions(producers: Producers, events: list[Event], **conf: int) -> KafkaTransactions:
    given = {**CONF, **{name.replace("_", "."): value for name, value in conf.items()}}
    return KafkaTransactions(given, events.append, make=producers)


def whole(made: KafkaTransactions) -> bool:
    """Go through one transaction."""
    made.begin()
    made.produce("receipts", b"v", b"k", [("h", b"1")])
    made.send_offsets({("orders", 0): Frontier(1)}, b"membership")
    return made.commit()


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, ProducerRecreated)]
