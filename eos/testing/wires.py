"""Tripwires at crash points: what a running test asks to happen at a line's next calls.

`eos.testing.faults` wraps a port with faults that are known beforehand, in processes that really
die. Here wires are drawn while the line runs, in the test's own thread.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, cast

from eos.core.ports import Effects, Inbox, Ledger, Log, Reader, Topics, Transactions

P = ParamSpec("P")
T = TypeVar("T")

HANDLER = "handler"
# Where several have a method of that name, the first is meant.
_PORTS: dict[str, type] = {
    "transactions": Transactions,
    "ledger": Ledger,
    "reader": Reader,
    "topics": Topics,
    "log": Log,
    "inbox": Inbox,
    "effects": Effects,
}


class Died(BaseException):
    """The worker is dead. Raised at a crash point; nothing but the harness catches it."""


@dataclass(slots=True)
class Wire:
    """What happens at a coming call.

    Attributes:
        when: `before` the call or `after` it.
        port: Which port's; empty for the handler.
        method: The method, or `handler`.
        calls: At which call from now on, from 1.
        action: What happens.
        what: Names it in messages.
    """

    when: Literal["before", "after"]
    port: str
    method: str
    calls: int
    action: Callable[[], None]
    what: str

    def __str__(self) -> str:
        """Say what was to happen, and where."""
        port = f"{self.port}." if self.port else ""
        return f"{self.what} {self.when} {port}{self.method}"


class Wires:
    """The wires that are drawn.

    Attributes:
        drawn: Those that nothing has touched yet.
    """

    def __init__(self) -> None:
        self.drawn: list[Wire] = []

    def draw(
        self,
        what: str,
        action: Callable[[], None],
        *,
        before: str | None,
        after: str | None,
        call: int,
    ) -> None:
        """Draw a wire.

        Args:
            what: Names what happens.
            action: What happens.
            before: The call before which it happens, `method` or `port.method`; or
            after: the call after which it happens.
            call: At which such call from now on, from 1.

        Raises:
            ValueError: If there is no such call, or not one of both is given.
        """
        if (before is None) == (after is None):
            raise ValueError("give before=… or after=…, one of them")
        if call < 1:
            raise ValueError(f"call={call}: calls are counted from 1")
        port, method = _place(before or after or "")
        when: Literal["before", "after"] = "before" if before else "after"
        self.drawn.append(Wire(when, port, method, call, action, what))

    def around(self, port: str, method: str, call: Callable[P, T]) -> Callable[P, T]:
        """Give a call whose touch of a wire is felt."""

        @wraps(call)
        def felt(*args: P.args, **kwargs: P.kwargs) -> T:
            self._touch("before", port, method)
            answer = call(*args, **kwargs)
            self._touch("after", port, method)
            return answer

        return felt

    def port(self, name: str, port: T) -> T:
        """Give a port whose calls are felt."""
        return cast("T", _Felt(name, port, self))

    def _touch(self, when: str, port: str, method: str) -> None:
        touched = [
            wire
            for wire in self.drawn
            if wire.when == when and wire.method == method and wire.port == port
        ]
        for wire in touched:
            wire.calls -= 1
            if wire.calls == 0:
                self.drawn.remove(wire)
                wire.action()


class _Felt:
    """Looks like the port behind it."""

    def __init__(self, name: str, port: object, wires: Wires) -> None:
        self._name = name
        self._port = port
        self._wires = wires

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wires.around(self._name, name, found) if callable(found) else found


class Inline(Executor):
    """Runs each call at once, in the thread that asks for it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 it is raised where the result is asked for
            # A worker that died there (`Died`) asks for no result: that passes.
            future.set_exception(error)
        return future


def _place(name: str) -> tuple[str, str]:
    """Read `port.method`, or `method` of the first port that has such a one."""
    if name == HANDLER:
        return "", HANDLER
    named, _, method = name.rpartition(".")
    for port, protocol in _PORTS.items():
        if named in {"", port} and method in vars(protocol) and not method.startswith("_"):
            return port, method
    raise ValueError(
        f"no port has a call {name!r}: write 'handler', 'produce', 'send_offsets', 'commit' or "
        "another method of eos.core.ports, if need be with its port, as 'reader.commit'"
    )
