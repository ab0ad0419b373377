"""How a sidecar fares: what `/readyz` and `/v1/status` tell."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from eos.core.events import (
    Assigned,
    Claimed,
    Committed,
    Event,
    Halted,
    Pushed,
    Recovered,
    Recovering,
    Settled,
    Waiting,
)
from eos.core.ports import Partition, Reader

_PATIENCE_SECONDS = 20.0
"""So much longer than it said a server may still be away: asking it takes its time-outs."""


class Status:
    """Listens to the line; is asked from another thread.

    Args:
        clock: Seconds from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waits: dict[str, tuple[float, str]] = {}
        self._away: dict[str, bool] = {}
        self._halted: dict[str, tuple[int, ...]] = {}
        self._settled: Counter[str] = Counter()
        self._fates: Counter[str] = Counter()
        self.member: Reader | None = None
        """The member of the group, once there is one."""
        self.draining = False
        """Whether it is leaving."""

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Claimed():
                self._waits = {}
            case Committed() | Settled():
                self._waits = {}
                for tally in event.tallies:
                    self._settled.update({v.value: n for v, n in tally.verdicts.items()})
            case Assigned():
                self._waits = {}
            case Waiting(on=on, seconds=seconds, detail=detail):
                until = self._clock() + seconds + _PATIENCE_SECONDS
                self._waits = {**self._waits, on: (until, detail)}
            case Recovering(topic=topic, left=left) if left:
                self._waits = {**self._waits, "recovery": (float("inf"), f"{topic}: {left} left")}
            case Recovered():
                self._waits = {on: why for on, why in self._waits.items() if on != "recovery"}
            case Halted(topic=topic, partitions=partitions):
                self._halted = {**self._halted, topic: partitions}
            case Pushed(topic=topic, fates=fates, away=away):
                self._fates.update(fates)
                self._away = {**self._away, topic: away}
            case _:
                pass

    def waits(self) -> dict[str, str]:
        """Give whom it waits for, and why: `group`, `kafka`, `ledger`, `app` and the like."""
        now = self._clock()
        found = {on: why for on, (until, why) in self._waits.items() if now < until}
        if self.member is None or not self.member.assignments:
            found["group"] = "its answer who reads what"
        if any(self._away.values()) and self._assigned():
            found["app"] = "the app does not answer"
        return found

    def told(self) -> dict[str, Any]:
        """Give all of it."""
        partitions = [f"{topic}[{number}]" for topic, number in self._assigned()]
        halted = [f"{t}[{number}]" for t, numbers in self._halted.items() for number in numbers]
        return {
            "draining": self.draining,
            "waiting": self.waits(),
            "partitions": partitions,
            "halted": halted,
            "settled": dict(self._settled),
            "pushed": dict(self._fates),
        }

    def _assigned(self) -> list[Partition]:
        return sorted(self.member.assigned()) if self.member else []
