"""A worker process whose effects lie outside of Kafka: lines that it appends to a file.

Nothing makes the file forget a second effect: what stands there happened. See `plain.py`.
"""

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import redis

import eos
from eos import build
from eos.core.events import Claimed, Event
from eos.core.ports import Claims, Ledger, Mark
from eos.core.record import Shard
from eos.testing import faults
from tests.integration.worker import Diary


class Effects:
    """The file, as the handler and whoever reconciles see it.

    Attributes:
        path: The file.
        batch: How many records the latest claim was about.
        calls: How often the handler was called.
        in_batch: How often for that claim.
    """

    def __init__(self, path: str, diary: Diary, die: dict[str, Any]) -> None:
        self.path = path
        self.batch = self.calls = self.in_batch = 0
        self._diary = diary
        self._die = die
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def handle(self, record: eos.Record) -> None:
        """Have an effect."""
        self.calls, self.in_batch = self.calls + 1, self.in_batch + 1
        self._die_if_due("before")
        effect = {
            "id": (record.value or b"").decode(),
            "in_doubt": record.in_doubt,
            "attempt": record.attempt,
            "token": record.fencing_token,
            "position": str(record.position),
            "pid": os.getpid(),
        }
        os.write(self._file, f"{json.dumps(effect)}\n".encode())
        self._die_if_due("after")
        if record.value == b"poison":
            raise ValueError("poison")

    def took_place(self, record: eos.Record) -> bool:
        """Tell whether a record had its effect."""
        lines = Path(self.path).read_text().splitlines()
        return any(json.loads(line)["id"] == (record.value or b"").decode() for line in lines)

    def event(self, event: Event) -> None:
        """Note how large batches are."""
        if isinstance(event, Claimed):
            self.batch = sum(sum(tally.verdicts.values()) for tally in event.tallies)
            self.in_batch = 0

    def _die_if_due(self, when: str) -> None:
        due = self._die.get("when") == when and self.batch >= self._die.get("batch", 0)
        if due and self._die["call"] == (self.in_batch if "batch" in self._die else self.calls):
            self._diary.note("fault", where=f"{when} effect", batch=self.batch)
            faults.kill()


class Unmarked:
    """A ledger that does not note what begins."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Any:
        for claims in batch:
            claims.begun = 0
        return self._ledger.claim(shard, batch)

    def begin(self, _shard: Shard, _seal: str, _mark: Mark) -> bool:
        return True


def main(order: dict[str, Any]) -> None:
    """Work until SIGTERM."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
    diary = Diary(order["diary"])
    effects = Effects(order["effects"], diary, order["die"])
    app = eos.App(**order["settings"], reconcile=effects.took_place)
    app.step(order["source"])(effects.handle)

    def emit(event: Event) -> None:
        effects.event(event)
        diary.note(type(event).__name__, about=str(event))

    ports = build.adapters(app.settings, order["slot"], emit)
    if order["broken"]:
        ports.ledger = cast("Ledger", Unmarked(ports.ledger))
    for fault in order["faults"]:
        port, act = fault.pop("port"), _action(diary, fault, app.settings.ledger)
        wrapped = faults.faulty(getattr(ports, port), faults.Fault(**fault, action=act))
        setattr(ports, port, wrapped)
    build.line(app.settings, app.steps, ports, emit).run(lambda: bool(asked))
    ports.ledger.close()
    diary.note("drained")


def _action(diary: Diary, fault: dict[str, Any], ledger: str) -> Callable[[], None]:
    def flush() -> None:
        with redis.Redis.from_url(ledger) as client:
            client.flushall()

    kind = fault.pop("action")
    act = {"kill": faults.kill, "stop": faults.stop, "flush": flush}[kind]
    where = f"{fault['when']} {fault['method']}"

    def action() -> None:
        diary.note("fault", where=where)
        act()

    return action


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
