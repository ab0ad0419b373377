"""A process with a loop of its own around `eos.Consumer`, and a fault at a crash point.

Its effects are lines in a file (`plain.py`), or, with a producer, messages in a topic.
"""

import faulthandler
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import eos
from eos.build import loops
from eos.testing import faults
from tests.integration.plain_worker import Effects
from tests.integration.worker import Diary


class Loop:
    """The loop: `poll` or `consume`, with auto-commit or commits of its own.

    Attributes:
        order: What the test wants.
        stopping: Tells when to end.
    """

    def __init__(self, order: dict[str, Any], stopping: Callable[[], bool]) -> None:
        self.order = order
        self.stopping = stopping
        self.diary = Diary(order["diary"])
        self.effects = Effects(order["effects"], self.diary, order["die"])
        self.effects.batch = 10**6
        self.handled = 0

    def run(self) -> None:
        """Go round until it is stopped."""
        settings = dict(self.order["settings"])
        if settings.get("in_doubt") == "reconcile":
            settings["reconcile"] = self.effects.took_place
        producer: dict[str, Any] | None = {} if self.order["to"] else None
        consumer = eos.Consumer(self.order["conf"], producer=producer, **settings)
        consumer.subscribe([self.order["source"]], on_assign=self._assigned)
        while not self.stopping():
            self._turn(consumer)
        consumer.close()
        self.diary.note("drained")

    def _assigned(self, _consumer: Any, partitions: list[Any]) -> None:
        self.diary.note("Assigned", partitions=len(partitions))

    def _turn(self, consumer: Any) -> None:
        if self.order["loop"] == "consume":
            messages = consumer.consume(20, 0.1)
        else:
            message = consumer.poll(0.1)
            messages = [] if message is None else [message]
        for message in messages:
            assert message.error() is None, message.error()
            self._handle(consumer, message)
        own = not self.order["conf"]["enable.auto.commit"]
        if own and (not messages or self.handled % 5 == 0 or len(messages) > 1):
            consumer.commit(asynchronous=not messages)

    def _handle(self, consumer: Any, message: Any) -> None:
        claim = consumer.claim(message)
        self.handled += 1
        if self.order["to"]:
            position = f"{message.partition()}@{message.offset()}"
            headers = {"position": position}
            consumer.produce(self.order["to"], message.value(), headers=headers, source=message)
            return
        record = eos.Record(
            message.topic(), "", message.partition(), message.offset(), None, message.value(), [], 0
        )
        record.in_doubt, record.attempt = claim.in_doubt, claim.attempt
        record.fencing_token = claim.fencing_token
        self.effects.handle(record)


def main(order: dict[str, Any]) -> None:
    """Work until SIGTERM."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
    loop = Loop(order, lambda: bool(asked))
    for fault in order["faults"]:
        _break(loop.diary, **fault)
    loop.run()


def _break(diary: Diary, port: str, action: str, **about: Any) -> None:
    """Wrap what makes a port."""
    name = {"ledger": "ledger", "transactions": "KafkaTransactions"}[port]
    make, act = getattr(loops, name), {"kill": faults.kill, "stop": faults.stop}[action]

    def noted() -> None:
        diary.note("fault", where=f"{about['when']} {about['method']}")
        act()

    fault = faults.Fault(**about, action=noted)
    setattr(loops, name, lambda *given, **more: faults.faulty(make(*given, **more), fault))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
