"""Handler functions: the user writes `@app.step`, and `eos run` does the rest."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from eos import build
from eos.core.errors import ConfigError
from eos.core.events import Emit
from eos.core.settings import Settings
from eos.handle import Step

F = TypeVar("F", bound=Callable[..., Any])

_WHOLE_NUMBERS = frozenset({"retries", "batch_records"})
_NOT_FROM_ENVIRONMENT = frozenset({"kafka", "key", "group"})


class App:
    """An application: one consumer group, and the steps that it takes.

    Settings that are not given are taken from the environment (`EOS_BROKERS`, `EOS_LEDGER`,
    `EOS_SECRET`, …, each setting in capitals), else from the defaults.

    Args:
        group: The consumer group.
        **settings: See `eos.Settings`.

    Example:
        ```python
        app = eos.App(group="payments", brokers="localhost:9092", ledger="redis://localhost")

        @app.step("orders", to="receipts")
        def charge(order: eos.Record) -> eos.Send:
            return eos.Send(f"charged {order.value!r}")
        ```
    """

    def __init__(self, *, group: str, **settings: Any) -> None:
        known = {field.name for field in fields(Settings)}
        faults = [
            f"{name}: there is no such setting; see eos.Settings"
            for name in sorted(settings.keys() - known)
        ]
        given = {n: v for n, v in settings.items() if n in known and v is not None}
        found, wrong = from_environment(os.environ)
        faults += wrong
        defaults = {"brokers": "", "ledger": "", "instance": socket.gethostname()}
        try:
            self.settings = Settings(group=group, **{**defaults, **found, **given})
        except ConfigError as error:
            raise ConfigError([*faults, *error.faults]) from error
        if faults:
            raise ConfigError(faults)
        self._steps: list[Step] = []

    def step(
        self, source: str, *, to: str | None = None, batch: bool = False, name: str | None = None
    ) -> Callable[[F], F]:
        """Register a handler for a topic.

        The handler gets a `Record` (with `batch`, a list of them) and returns a `Send`, several
        or None (with `batch`, one such result per record). What it sends and the record's offset
        are settled in one Kafka transaction.

        Args:
            source: The topic to read.
            to: Where a `Send` without a topic of its own goes.
            batch: Give the handler lists of records.
            name: Names the step in the ids of what it sends; default: the function's name.

        Raises:
            ConfigError: If the topic has a step already.
        """

        def register(handler: F) -> F:
            if any(step.source == source for step in self._steps):
                raise ConfigError([f"topic {source!r} has a step already: one step reads a topic"])
            named = name or str(getattr(handler, "__name__", "step"))
            self._steps.append(Step(source, to, handler, batch, named))
            return handler

        return register

    def work(
        self,
        *,
        slot: int = 0,
        stopping: Callable[[], bool] = lambda: False,
        emit: Emit | None = None,
    ) -> None:
        """Work in this process and thread until `stopping()`, then drain.

        Args:
            slot: Numbers the worker among those of this instance.
            stopping: Asked between batches.
            emit: Told what happens, in `eos.core.events`, beside metrics and logs.

        Raises:
            ConfigError: If the app has no steps.
            FatalError: If going on could lose or repeat a record.
        """
        if not self._steps:
            raise ConfigError(["the app has no steps: write a handler with @app.step(topic)"])
        if slot and self.settings.ledger.startswith("memory:"):
            raise ConfigError(["ledger='memory:' is for one worker: several need redis://…"])
        tell = build.observers(self.settings, emit)
        ports = build.adapters(self.settings, slot, tell)
        try:
            build.line(self.settings, self._steps, ports, tell).run(stopping)
        finally:
            ports.ledger.close()


def from_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Read the settings that the environment gives, `EOS_` and the name in capitals.

    Returns:
        The settings found, and the faults of those that cannot be read.
    """
    found: dict[str, Any] = {}
    faults = []
    for name in sorted({field.name for field in fields(Settings)} - _NOT_FROM_ENVIRONMENT):
        variable = f"EOS_{name.upper()}"
        if variable not in environment:
            continue
        try:
            found[name] = (int if name in _WHOLE_NUMBERS else str)(environment[variable])
        except ValueError:
            faults.append(f"{variable}={environment[variable]!r}: write a whole number")
    return found, faults
