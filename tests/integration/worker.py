"""A worker process for tests: one line, with a fault at a crash point; see `processes.py`.

It notes what happens in a file, a line of JSON each, written at once, so that the notes outlive
a kill.
"""

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

from sqlalchemy import text

from eos import build
from eos.core.events import Committed, Event, Settled
from eos.core.ports import Log, Ports
from eos.core.record import Message, Record, Send
from eos.core.settings import Settings
from eos.handle import Step
from eos.testing import faults
from tests.integration.broken import break_

INSERT = text("INSERT INTO effects (id, position) VALUES (:id, :position)")


@dataclass
class Diary:
    """Notes what happens, and knows what the worker holds: read, and not settled yet."""

    path: str
    held: int = 0
    _file: int = field(init=False)

    def __post_init__(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, **about: Any) -> None:
        line = json.dumps({"what": what, "pid": os.getpid(), **about}, default=str)
        os.write(self._file, f"{line}\n".encode())

    def event(self, event: Event) -> None:
        if isinstance(event, Committed | Settled):
            self.held -= sum(sum(tally.verdicts.values()) for tally in event.tallies)
        about = {each.name: getattr(event, each.name) for each in fields(event)}
        self.note(type(event).__name__, **about)

    def read(self, messages: Sequence[Message]) -> Sequence[Message]:
        self.held += len(messages)
        return messages


class _Reader:
    """A reader that tells the diary how much was read."""

    def __init__(self, reader: Any, diary: Diary) -> None:
        self._reader = reader
        self._diary = diary

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        return self._diary.read(self._reader.poll(limit, seconds))


class _Log:
    """A log that tells the diary what was read again, and a fault after so many records."""

    def __init__(self, log: Any, source: str, diary: Diary, fault: faults.Fault | None) -> None:
        self._log = log
        self._source = source
        self._diary = diary
        self._fault = fault
        self._read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(
        self, topic: str, partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Message]]:
        for messages in self._log.read(topic, partition, offsets, to_end=to_end):
            if topic == self._source:
                if self._fault and self._read >= (self._fault.call or 0):
                    self._fault.action()
                found = [message.offset() for message in messages]
                self._diary.note("Reread", partition=partition, offsets=found)
                self._read += len(messages)
            yield messages


def echo(record: Record) -> Send:
    """Send what came."""
    return Send(record.value, headers={"position": str(record.position)})


def insert(record: Record, db: Any) -> None:
    """Write down what came, in a table that takes it as often as it is told."""
    db.execute(INSERT, {"id": (record.value or b"").decode(), "position": str(record.position)})


def _break_effects(
    ports: Ports, port: str, fault: dict[str, Any], action: Callable[[], None]
) -> None:
    """Let a fault happen at the n-th call of a method, counted over all transactions."""
    number, made = fault.pop("call"), ports.inbox
    calls = iter(range(1, number + 1))

    def counted() -> None:
        if next(calls, 0) == number:
            action()

    wound = faults.Fault(**fault, call=None, action=counted)

    def begun(begin: Callable[[], Any]) -> Any:
        effects = begin()
        if port == "effects":
            return faults.faulty(effects, wound)
        effects.db = faults.faulty(effects.db, wound)
        return effects

    def make(into: Any) -> Any:
        inbox: Any = made(into)
        begin = inbox.begin
        inbox.begin = lambda: begun(begin)
        return inbox

    ports.inbox = make


def main(order: dict[str, Any]) -> None:
    """Work until SIGTERM."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
    diary = Diary(order["diary"])
    settings = Settings(**order["settings"])
    ports = build.adapters(settings, order["slot"], diary.event)
    if order["broken"]:
        break_(order["broken"], ports, settings)
    ports.reader = _Reader(ports.reader, diary)
    made, dying = ports.log, None
    for fault in order["faults"]:
        port, act = fault.pop("port"), _action(diary, fault)
        if port == "log":
            dying = faults.Fault(**fault, action=act)
            continue
        if port in {"effects", "db"}:
            _break_effects(ports, port, fault, act)
            continue
        wrapped = faults.faulty(getattr(ports, port), faults.Fault(**fault, action=act))
        setattr(ports, port, wrapped)
    ports.log = lambda: cast("Log", _Log(made(), order["source"], diary, dying))
    step = Step(order["source"], order["to"], echo, batch=False, name="echo")
    if order["into"]:
        step = Step(order["source"], None, insert, batch=False, name="insert", into=order["into"])
    build.line(settings, [step], ports, diary.event).run(lambda: bool(asked))
    ports.ledger.close()
    diary.note("drained")


def _action(diary: Diary, fault: dict[str, Any]) -> Callable[[], None]:
    kind = fault.pop("action")
    act = {"kill": faults.kill, "stop": faults.stop}[kind]
    where = f"{fault['when']} {fault['method']}"

    def action() -> None:
        diary.note("fault", where=where, held=diary.held)
        act()

    return action


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
