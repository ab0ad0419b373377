"""A process that moves money inside `into=`, and dies or stops at its n-th step.

A step is the moment before or after a statement, a commit or a roll-back of the database, or a
call of the ledger or the group. The product has no hooks for it: the engine is watched here.
"""

import faulthandler
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text

from eos import build
from eos.core.ports import Ports
from eos.core.record import Record
from eos.core.settings import Settings
from eos.handle import Step
from eos.testing import faults
from tests.integration.into_broken import break_inbox
from tests.integration.worker import Diary

CALLS = {
    "ledger": ("take", "claim", "confirm", "lock", "reassert", "open"),
    "reader": ("frontiers", "commit"),
}
JOURNAL = text("INSERT INTO journal VALUES (:id, :partition, :offset, :process, :attempt)")
MOVE = text("UPDATE accounts SET balance = balance + :amount WHERE name = :name")


class Steps:
    """Counts steps, and does something at one of them.

    Args:
        diary: Where it is noted.
        number: The step; 0: none.
        where: Counts only steps of this name; empty: all.
        gate: A file: while it is there, the next step is the one. It is removed then.
        action: What happens then.
    """

    def __init__(
        self, diary: Diary, number: int, where: str, gate: Path, action: Callable[[], None]
    ) -> None:
        self._diary, self._left, self._where, self._action = diary, number, where, action
        self._gate = gate

    def __call__(self, where: str) -> None:
        if self._where not in {"", where}:
            return
        self._left -= 1
        closed = self._left < 0 and self._gate.exists()
        if closed:
            self._gate.unlink()
        if closed or self._left == 0:
            self._diary.note("fault", where=where)
            self._action()

    def watch(self, engine: Engine) -> None:
        """Count statements, and what ends transactions."""

        def said(when: str) -> Callable[..., None]:
            return lambda _connection, _cursor, statement, *_: self(f"{when} {_named(statement)}")

        event.listen(engine, "before_cursor_execute", said("before"))
        event.listen(engine, "after_cursor_execute", said("after"))
        for name in ("do_commit", "do_rollback"):
            setattr(engine.dialect, name, self.around(name, getattr(engine.dialect, name)))

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self(f"before {name}")
            answer = call(*args, **kwargs)
            self(f"after {name}")
            return answer

        return counted


def _named(statement: str) -> str:
    verb, *words = statement.split()[:3]
    return f"{verb} {' '.join(words if words[0] in {'INTO', 'FROM'} else words[:1])}"


class Calls:
    """A port whose calls are steps."""

    def __init__(self, port: Any, name: str, steps: Steps) -> None:
        self._port, self._steps = port, steps
        self._names = {method: f"{name}.{method}" for method in CALLS[name]}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._steps.around(self._names[name], found) if name in self._names else found


class Tellers:
    """Handlers: of a record, and of a batch.

    Args:
        stumbles: Whether the first try of every seventh record fails, in the database.
        pause: How long a record takes, seconds: so that there is always something in flight.
    """

    def __init__(self, *, stumbles: bool, pause: float) -> None:
        self._stumbles, self._pause = stumbles, pause

    def transfer(self, record: Record, db: Connection) -> None:
        order = json.loads(record.value or b"")
        for sign, account in ((-1, order["from"]), (1, order["to"])):
            db.execute(MOVE, {"amount": sign * order["amount"], "name": account})
        db.execute(JOURNAL, _entry(record, order))
        self._end(db, [record])

    def transfers(self, records: Sequence[Record], db: Connection) -> None:
        orders = [json.loads(record.value or b"") for record in records]
        moves: Counter[int] = Counter()
        for order in orders:
            moves[order["from"]] -= order["amount"]
            moves[order["to"]] += order["amount"]
        db.execute(MOVE, [{"name": name, "amount": moves[name]} for name in sorted(moves)])
        db.execute(JOURNAL, [_entry(*each) for each in zip(records, orders, strict=True)])
        self._end(db, records)

    def _end(self, db: Connection, records: Sequence[Record]) -> None:
        time.sleep(self._pause * len(records))
        for record in records:
            if self._stumbles and record.offset % 7 == 3 and record.attempt == 1:
                db.execute(text("SELECT nothing FROM nowhere"))


def _entry(record: Record, order: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": order["id"],
        "partition": record.partition,
        "offset": record.offset,
        "process": os.getpid(),
        "attempt": record.attempt,
    }


def main(order: dict[str, Any]) -> None:
    """Work until SIGTERM."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
    diary = Diary(order["diary"])
    diary.note("up")  # from here on it can be asked to stop
    settings = Settings(**order["settings"])
    action = {"kill": faults.kill, "stop": faults.stop}[order["action"]]
    steps = Steps(diary, order["at"], order["where"], Path(order["gate"]), action)
    engine = create_engine(order["into"])
    steps.watch(engine)
    ports = build.adapters(settings, order["slot"], diary.event)
    _count(ports, steps)
    if order["broken"]:
        break_inbox(order["broken"], ports)
    tellers = Tellers(stumbles=order["stumbles"], pause=order["pause"])
    handler = tellers.transfers if order["batch"] else tellers.transfer
    step = Step(order["source"], None, handler, order["batch"], "transfer", into=engine)
    build.line(settings, [step], ports, diary.event).run(lambda: bool(asked))
    ports.ledger.close()
    diary.note("drained")


def _count(ports: Ports, steps: Steps) -> None:
    for name in CALLS:
        setattr(ports, name, Calls(getattr(ports, name), name, steps))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
