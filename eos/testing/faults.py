"""Faults at crash points: a crash point is a call through a port.

Production code has no hooks. A port is wrapped, and before or after the n-th call of one of its
methods something happens: the process is killed or stopped, or whatever a function does.

    ports.ledger = faulty(ports.ledger, Fault("confirm", "before", call=3))

An action that raises says how a call fails: *before* it, the request is lost; *after* it, the
answer.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")


def kill() -> None:
    """Die at once, as by `kill -9`: nothing is flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Stop until somebody sends SIGCONT, as a zombie does: connections stay open."""
    # To this very thread: another one might serve a signal to the process, and this one go on
    # for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one crash point.

    Attributes:
        method: The port's method.
        when: `before` the call, which is then made unless the action raises; or `after` it.
        call: Which call of that method, from 1; None for each of them.
        action: What happens; default: the process is killed.
    """

    method: str
    when: Literal["before", "after"]
    call: int | None = 1
    action: Callable[[], None] = kill


def faulty(port: T, *faults: Fault) -> T:
    """Wrap a port, of whatever kind, so that these faults happen.

    Args:
        port: What is wrapped; it stays as it is.
        *faults: What happens, in this order where several name the same crash point.

    Returns:
        Something that answers as the port does.

    Raises:
        AttributeError: If the port lacks a method that a fault names.
    """
    for fault in faults:
        getattr(port, fault.method)
    return cast("T", _Faulty(port, faults))


class _Faulty:
    """Looks like the port behind it."""

    def __init__(self, port: object, faults: Sequence[Fault]) -> None:
        self._port = port
        self._faults = faults
        self._methods = frozenset(fault.method for fault in faults)
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wrapped(name, found) if name in self._methods else found

    def _wrapped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self._calls[name] += 1
                number = self._calls[name]
            due = [f for f in self._faults if f.method == name and f.call in {None, number}]
            for fault in due:
                if fault.when == "before":
                    fault.action()
            answer = method(*args, **kwargs)
            for fault in due:
                if fault.when == "after":
                    fault.action()
            return answer

        return call
