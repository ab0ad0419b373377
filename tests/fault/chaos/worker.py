"""The application of a chaos: its workers stop at crash points when they are told to.

`app` is what a pool's workers load. What it does stands in an environment variable, see `Order`.
A trap is an empty file named after a worker and a crash point: the worker that comes by takes the
file away, and stops as by SIGSTOP.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from eos import build
from eos.core.events import Event
from eos.core.ports import Ports
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.core.supervisor import TABLE, Seen, State
from eos.handle import Step
from eos.testing import faults
from tests.integration.broken import break_

_VARIABLE = "CHAOS_ORDER"
NEVER_TAINTS = "never taints"


class Point(NamedTuple):
    """A crash point: before or after a call of a port; port `handler` has no port."""

    when: Literal["before", "after"]
    port: str
    method: str


TRANSACTION_POINTS = (
    *(Point(when, "transactions", "send_offsets") for when in ("before", "after")),  # twice as
    *(Point(when, "transactions", "send_offsets") for when in ("before", "after")),  # likely
    *(Point(when, "transactions", "commit") for when in ("before", "after")),
    Point("before", "transactions", "begin"),
    Point("before", "ledger", "confirm"),
    Point("after", "ledger", "claim"),
)
PLAIN_POINTS = (
    *(Point(when, "handler", "effect") for when in ("before", "after")),
    *(Point(when, "ledger", "claim") for when in ("before", "after")),
    *(Point(when, "ledger", "settle") for when in ("before", "after")),
    Point("before", "reader", "commit"),
)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the workers of a run do.

    Attributes:
        settings: See `eos.Settings`.
        folder: Where traps are set, and effects and diaries are written.
        source: The topic to read.
        to: Two topics to write; none in the plain tier, whose effects are lines of a file.
        broken: How they are broken, see `tests/integration/broken.py`; default: not at all.
    """

    settings: dict[str, Any]
    folder: str
    source: str
    to: tuple[str, ...] = ()
    broken: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a worker needs."""
        root = Path(__file__).parents[3]
        return {_VARIABLE: json.dumps(asdict(self)), "PYTHONPATH": str(root)}


def trap(folder: Path, worker: str, point: Point) -> Path:
    """Name the file that stops a worker at a crash point."""
    return folder / f"{worker}.{point.when}.{point.port}.{point.method}.trap"


def name(instance: str, slot: int) -> str:
    """Name a worker."""
    return f"{instance}-{slot}"


class _Files:
    """What a worker writes: a diary, and its effects. Each line is whole and outlives a kill."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._diary = _append(folder / f"{worker}.diary")
        self._effects = _append(folder / f"{worker}.{os.getpid()}.effects")

    def note(self, what: str, **about: Any) -> None:
        """Write a line into the diary."""
        _write(self._diary, {"at": time.monotonic(), "pid": os.getpid(), "what": what, **about})

    def event(self, event: Event) -> None:
        """Write an event into the diary."""
        about = {each.name: getattr(event, each.name) for each in fields(event)}
        self.note(type(event).__name__, **about)

    def effect(self, record: Record) -> None:
        """Have an effect outside of Kafka."""
        effect = {
            "id": record.header("message-id"),
            "partition": record.partition,
            "offset": record.offset,
            "token": record.fencing_token,
            "in_doubt": record.in_doubt,
            "at": time.monotonic_ns(),  # one clock for all processes
        }
        _write(self._effects, effect)


class _App:
    """What `eos.workers` runs: `eos.App` with ports that hold traps."""

    def work(self, *, slot: int, stopping: Callable[[], bool]) -> None:
        """Work until told to stop."""
        order = Order(**json.loads(os.environ[_VARIABLE]))
        instance = os.environ["EOS_INSTANCE"]
        settings = Settings(**order.settings, instance=instance)
        folder, worker = Path(order.folder), name(instance, slot)
        files = _Files(folder, worker)
        tell = build.observers(settings, files.event)
        ports = build.adapters(settings, slot, tell)
        _break(order.broken, ports, settings)
        points = TRANSACTION_POINTS if order.to else PLAIN_POINTS
        traps = {point: _stopper(folder, worker, point, files) for point in dict.fromkeys(points)}
        _set_traps(ports, traps)
        step = Step(order.source, *_target(order, files, traps), batch=False, name="chaos")
        try:
            build.line(settings, [step], ports, tell).run(stopping)
        finally:
            ports.ledger.close()


def _target(
    order: Order, files: _Files, traps: dict[Point, Callable[[], None]]
) -> tuple[str | None, Callable[[Record], Any]]:
    """Give where the outputs go, and the handler."""

    def effect(record: Record) -> None:
        traps[Point("before", "handler", "effect")]()
        files.effect(record)
        traps[Point("after", "handler", "effect")]()

    return (order.to[0], _three(order.to)) if order.to else (None, effect)


def _three(to: Sequence[str]) -> Callable[[Record], list[Send]]:
    """Make a handler that sends three messages for one."""

    def handler(record: Record) -> list[Send]:
        identity = record.header("message-id") or b""
        about: dict[str, bytes | str] = {
            "id": identity,
            "of": f"{record.partition}/{record.offset}",
            "token": str(record.fencing_token),
        }
        # Two go where their key goes, one on a way of its own.
        ways = [(to[0], None), (to[0], identity), (to[1], None)]
        return [
            Send(record.value, topic, key, headers={**about, "number": str(number)})
            for number, (topic, key) in enumerate(ways)
        ]

    return handler


def _stopper(folder: Path, worker: str, point: Point, files: _Files) -> Callable[[], None]:
    path = trap(folder, worker, point)

    def stop_if_told() -> None:
        with suppress(FileNotFoundError):
            path.unlink()
            files.note("stops", where=str(point))
            # To this very thread: a signal to the process may be served by another one, and this
            # one would run on for a moment.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            files.note("goes on")

    return stop_if_told


def _set_traps(ports: Ports, traps: dict[Point, Callable[[], None]]) -> None:
    for port in {point.port for point in traps} - {"handler"}:
        here = [
            faults.Fault(point.method, point.when, None, act)
            for point, act in traps.items()
            if point.port == port
        ]
        setattr(ports, port, faults.faulty(getattr(ports, port), *here))


def _break(kind: str, ports: Ports, settings: Settings) -> None:
    if kind == NEVER_TAINTS:
        for seen in (Seen.DISCONNECTED, Seen.COUNTED, Seen.SLOW):
            TABLE[State.READY][seen] = State.READY
    elif kind:
        break_(kind, ports, settings)


def _append(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _write(file: int, about: dict[str, Any]) -> None:
    os.write(file, f"{json.dumps(about, default=_text)}\n".encode())


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


app = _App()
