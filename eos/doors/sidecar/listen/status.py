"""How a sidecar fares: what `/readyz` and `/v1/status` tell."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from eos.core.events import (
    Answered,
    Assigned,
    Claimed,
    Committed,
    Event,
    Halted,
    Published,
    Pushed,
    Recovered,
    Recovering,
    Settled,
    ShardClosed,
    ShardOpened,
    ShardStopped,
    Waiting,
)
from eos.core.ports import Partition, Reader

_PATIENCE_SECONDS = 20.0
"""So much longer than it said a server may still be away: asking it takes its time-outs."""


class Status:
    """Listens to a line; is asked from another thread.

    Args:
        needs_partition: Whether it is of no use without a partition.
        clock: Seconds from any start.

    Attributes:
        member: The member of the group, once there is one.
    """

    def __init__(
        self, *, needs_partition: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._needs_partition = needs_partition
        self._waits: dict[str, tuple[float, str]] = {}
        self._away: dict[str, bool] = {}
        self._halted: dict[str, tuple[int, ...]] = {}
        self._settled: Counter[str] = Counter()
        self._fates: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self.member: Reader | None = None

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
            case _:
                self._count(event)

    def _count(self, event: Event) -> None:
        match event:
            case Pushed(topic=topic, fates=fates, away=away):
                self._fates.update(fates)
                self._away = {**self._away, topic: away}
            case Answered(status=status):
                self._answers.update([str(status)])
            case _:
                pass

    def waits(self) -> dict[str, str]:
        """Give whom it waits for, and why: `group`, `kafka`, `ledger`, `app` and the like."""
        now = self._clock()
        found = {on: why for on, (until, why) in self._waits.items() if now < until}
        if self.member is None or not self.member.assignments:
            found["group"] = "its answer who reads what"
        elif self._needs_partition and not self._assigned():
            found["group"] = "a partition: others have them all"
        if any(self._away.values()) and self._assigned():
            found["app"] = "the app does not answer"
        return found

    def told(self) -> dict[str, Any]:
        """Give the rest of it."""
        partitions = [f"{topic}[{number}]" for topic, number in self._assigned()]
        halted = [f"{t}[{number}]" for t, numbers in self._halted.items() for number in numbers]
        told = {"partitions": partitions, "halted": halted, "settled": dict(self._settled)}
        if self._needs_partition:
            return {**told, "answered": dict(self._answers)}
        return {**told, "pushed": dict(self._fates)}

    def _assigned(self) -> list[Partition]:
        return sorted(self.member.assigned()) if self.member else []


class RelayStatus:
    """Listens to the relay of an outbox; is asked from another thread."""

    def __init__(self) -> None:
        self._waits: dict[str, str] = {}
        self._shards: set[int] = set()
        self._rows = 0

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case ShardOpened(shard=shard):
                self._waits, self._shards = {}, self._shards | {shard}
            case ShardStopped(shard=shard) | ShardClosed(shard=shard):
                self._shards = self._shards - {shard}
            case Published(rows=rows):
                self._waits, self._rows = {}, self._rows + rows
            case Waiting(on=on, detail=detail):
                self._waits = {**self._waits, on: detail}
            case _:
                pass

    def waits(self) -> dict[str, str]:
        """Give whom it waits for, and why."""
        return dict(self._waits)

    def told(self) -> dict[str, Any]:
        """Give the rest of it."""
        return {"shards": sorted(self._shards), "published": self._rows}


class Health:
    """How all that a sidecar does fares.

    Attributes:
        deliver: The line that delivers; None: it delivers nothing.
        publish: The line that publishes for callers; None: there is none.
        outbox: The relay; None: there is none.
        draining: Whether the sidecar is leaving.
    """

    def __init__(self, *, deliver: bool, publish: bool, outbox: bool) -> None:
        self.deliver = Status() if deliver else None
        self.publish = Status(needs_partition=True) if publish else None
        self.outbox = RelayStatus() if outbox else None
        self.draining = False

    def waits(self) -> dict[str, str]:
        """Give whom it waits for, and why; of all but delivery with its name before it."""
        found = self.deliver.waits() if self.deliver else {}
        for name, status in (("publish", self.publish), ("outbox", self.outbox)):
            if status is not None:
                found |= {f"{name} {on}": why for on, why in status.waits().items()}
        return found

    def told(self) -> dict[str, Any]:
        """Give all of it."""
        told: dict[str, Any] = {"draining": self.draining, "waiting": self.waits()}
        told |= self.deliver.told() if self.deliver else {}
        for name, status in (("publish", self.publish), ("outbox", self.outbox)):
            if status is not None:
                told[name] = status.told()
        return told
