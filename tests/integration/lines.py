"""A line in a thread of the test's own process: its ports can be wrapped, its events looked at."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from eos import build
from eos.core.events import Assigned, Event
from eos.core.ports import Ports
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.handle import Step
from tests.integration.cluster import SECONDS

E = TypeVar("E")


def echo(record: Record) -> Send:
    """Send what came."""
    return Send(record.value)


def step(
    source: str, to: str | None, handler: Callable[[Any], Any] = echo, *, batch: bool = False
) -> Step:
    """Describe a step."""
    return Step(source, to, handler, batch=batch, name="step")


def unchanged(ports: Ports) -> None:
    """Leave the ports as they are."""


@dataclass
class Running:
    """A line that runs as long as the `with` block lasts, and then drains.

    Attributes:
        settings: How it runs.
        steps: What it does.
        wrap: Changes its ports before it starts.
        slot: Its slot.
        events: What it told so far.
        error: What ended it, if it did not end by itself.
    """

    settings: Settings
    steps: Sequence[Step]
    wrap: Callable[[Ports], None] = unchanged
    slot: int = 0
    events: list[Event] = field(default_factory=list)
    error: BaseException | None = None

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            print(self.told())  # noqa: T201 pytest shows it for a test that failed
        self._stop.set()
        self._thread.join(2 * SECONDS)
        if kind is None:
            assert not self._thread.is_alive(), f"the line does not stop\n{self.told()}"
            if self.error is not None:
                raise self.error

    def saw(self, kind: type[E]) -> list[E]:
        """Give the events of one kind so far."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def until(self, condition: Callable[["Running"], object], what: str) -> None:
        """Wait for what the line tells."""
        ready = wait_until(
            lambda: bool(condition(self)) or self.error is not None, seconds=2 * SECONDS
        )
        if not ready or self.error is not None:
            raise AssertionError(f"waited in vain for {what}\n{self.told()}") from self.error

    def until_assigned(self, count: int) -> None:
        """Wait until so many partitions were opened here since the start."""
        self.until(lambda line: len(line.partitions()) >= count, f"{count} partitions")

    def partitions(self) -> set[tuple[str, int]]:
        """Give the partitions that were opened here."""
        return {partition for event in self.saw(Assigned) for partition in event.partitions}

    def failed(self) -> BaseException:
        """Wait until the line stops by itself, and give the reason."""
        self._thread.join(2 * SECONDS)
        assert self.error is not None, f"the line goes on\n{self.told()}"
        error, self.error = self.error, None
        return error

    def told(self) -> str:
        """Give the last events, for a test that failed."""
        return "\n".join([*(str(event) for event in self.events[-25:]), f"error: {self.error!r}"])

    def _run(self) -> None:
        try:
            ports = build.adapters(self.settings, self.slot, self.events.append)
            self.wrap(ports)
            try:
                line = build.line(self.settings, self.steps, ports, self.events.append)
                line.run(self._stop.is_set)
            finally:
                ports.ledger.close()
        except BaseException as error:  # noqa: BLE001 the test looks at it
            self.error = error
