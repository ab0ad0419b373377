"""What a worker of the model keeps: open partitions, and what it has claimed."""

from dataclasses import dataclass, field

from eos.core.frontier import Frontier, Replay
from tests.simulation.calls import Claims, Seal
from tests.simulation.kafka import Outcome


@dataclass(slots=True)
class Lane:
    """An open partition."""

    epoch: int
    assignment: int
    frontier: int
    next: int
    replay: Replay | None
    loaded: bool

    def at(self, offset: int) -> Frontier:
        """Give what is committed once this offset is the first that is not settled."""
        return Frontier(offset, replay=self._replayed(offset))

    @property
    def replayed(self) -> bool:
        """Whether what comes next is handled again."""
        return self._replayed(self.frontier) is not None

    def _replayed(self, offset: int) -> Replay | None:
        return self.replay if self.replay and offset < self.replay.peak else None


@dataclass(slots=True)
class Batch:
    """What one transaction settles: claimed under one seal, read under one generation."""

    generation: int
    seal: Seal
    outcomes: list[Outcome] = field(default_factory=list)
    ends: dict[int, Frontier] = field(default_factory=dict)
    calls: int = 0


def told(frontier: Frontier) -> str:
    """Give a frontier for a story."""
    if frontier.replay is None:
        return str(frontier.offset)
    return f"{frontier.offset}, again to {frontier.replay.until} of {frontier.replay.peak}"


def places(ends: dict[int, Frontier]) -> str:
    """Give frontiers for a story."""
    return ", ".join(f"p{partition} {told(end)}" for partition, end in ends.items())


def ranges(claims: list[Claims]) -> str:
    """Give what is claimed for a story."""
    return " ".join(f"p{part.partition}[{part.start}..{part.end})" for part in claims)
