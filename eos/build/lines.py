"""The line of an app."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace

from eos.build.parts import FIRST_PAUSE, LONGEST_PAUSE, parts_of, settle_of
from eos.claim.away import when_away
from eos.core.errors import RetriableError
from eos.core.events import Emit
from eos.core.ports import Clock, Ports
from eos.core.settings import Settings
from eos.handle import Handle, Step
from eos.kafka import config
from eos.line import Line
from eos.operate.window import Window
from eos.retry import Backoff
from eos.settle.beside import Beside
from eos.settle.step import Told


def line(
    settings: Settings,
    steps: Sequence[Step],
    ports: Ports,
    emit: Emit,
    *,
    clock: Clock = time,
    beside: Callable[[], Executor] = Beside,
    told: Told = lambda _: None,
) -> Line:
    """Put the four steps together on these ports.

    Args:
        settings: How the line runs.
        steps: The handlers.
        ports: The adapters.
        emit: Told what happens.
        clock: Tells the time.
        beside: Makes what transactions end in: by default a thread beside the line.
        told: Told what each transaction settled, in the line's thread.
    """
    inboxes = {step.source: ports.inbox(step.into) for step in steps if step.into is not None}
    for inbox in inboxes.values():
        with suppress(RetriableError):  # one that is away is waited for when rows are read
            inbox.check()
    ports = replace(ports, ledger=when_away(settings.ledger_down, ports.ledger, clock))
    parts = parts_of(
        settings,
        ports,
        emit,
        clock,
        sources=[step.source for step in steps],
        targets=[step.to for step in steps if step.to is not None],
        plain=[step.source for step in steps if step.plain],
        audits=any(not step.plain and step.into is None for step in steps),
        inboxes=inboxes,
    )
    handle = Handle(
        steps=steps,
        settings=settings,
        max_bytes=config.max_message_bytes(settings),
        ledger=ports.ledger,
        hold=parts.consume.hold,
        emit=emit,
        holds=parts.consume.holds,
        inboxes=inboxes,
        inside=parts.claim.inside,
    )
    settle = settle_of(settings, ports, parts, emit, clock, beside, told)
    parts.consume.revoking = settle.give_back
    window = Window(ports.ledger, parts.consume, emit, clock, inboxes, settings.window_seconds)
    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    return Line(parts.consume, parts.claim, handle, settle, window, backoff, emit)
