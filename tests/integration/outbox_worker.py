"""A relay that dies or stops at its n-th step.

A step is the moment before or after a statement, a commit or a roll-back of the database, a call of
a transaction, or a read of the position. The product has no hooks for it: engine and adapters are
watched here.
"""

import faulthandler
import itertools
import json
import signal
import sys
from pathlib import Path
from typing import Any

from eos.build import relays
from eos.core.events import Event
from eos.core.settings import Settings
from eos.db import engine_of
from eos.testing import faults
from tests.integration.into_worker import Steps
from tests.integration.outbox_broken import break_relay
from tests.integration.worker import Diary

CALLS = {
    "transactions": ("prepare", "begin", "produce", "send_offsets", "commit"),
    "log": ("frontiers",),
}


class Calls:
    """An adapter whose calls are steps."""

    def __init__(self, port: Any, name: str, steps: Steps) -> None:
        self._port, self._steps = port, steps
        self._names = {method: f"{name}.{method}" for method in CALLS[name]}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._steps.around(self._names[name], found) if name in self._names else found


def main(order: dict[str, Any]) -> None:
    """Relay until SIGTERM."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
    diary, numbers = Diary(order["diary"]), itertools.count()

    def tell(event: Event) -> None:
        about = {name: getattr(event, name) for name in event.__dataclass_fields__}
        diary.note(type(event).__name__, number=next(numbers), **about)

    diary.note("up")
    action = {"kill": faults.kill, "stop": faults.stop}[order["action"]]
    steps = Steps(diary, order["at"], order["where"], Path(order["gate"]), action)
    engine = engine_of(order["database"])
    steps.watch(engine)
    if order["broken"]:
        break_relay(order["broken"])
    for name, adapter in (("transactions", "KafkaTransactions"), ("log", "KafkaLog")):
        _watch(name, adapter, steps)
    relay = relays.relay(Settings(**order["settings"]), engine, tell, poll=0.2)
    relay.run(lambda: bool(asked))
    diary.note("drained")


def _watch(name: str, adapter: str, steps: Steps) -> None:
    make = getattr(relays, adapter)
    setattr(relays, adapter, lambda *given: Calls(make(*given), name, steps))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
