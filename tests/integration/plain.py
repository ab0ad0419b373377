"""Worker processes with effects outside of Kafka, and what may be said of those effects."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.cluster import Input
from tests.integration.processes import ROOT, Worker


class Effect(NamedTuple):
    """What took place, once."""

    id: str
    in_doubt: bool
    attempt: int
    token: int
    position: str
    pid: int


@dataclass
class PlainWorker(Worker):
    """A slot that plain workers fill, one after the other.

    Attributes:
        effects: The file that their effects stand in.
    """

    effects: Path = field(default_factory=Path)

    def start(self, *faults: dict[str, Any], die: dict[str, Any] | None = None) -> None:
        """Start a process.

        Args:
            *faults: Faults at calls of its ports.
            die: Where in the handler it is killed: `when` (before or after the effect), at which
                `call`, of a `batch` of at least so many records if that is given.
        """
        order = {
            "settings": self.settings,
            "source": self.source,
            "slot": self.slot,
            "diary": str(self.diary),
            "effects": str(self.effects),
            "faults": faults,
            "die": die or {},
            "broken": self.broken,
        }
        self.output.append(self.diary.with_suffix(f".{len(self.output)}.out"))
        with self.output[-1].open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.plain_worker", json.dumps(order)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def took_place(self) -> list[Effect]:
        """Give all effects so far."""
        if not self.effects.exists():
            return []
        return [Effect(**json.loads(line)) for line in self.effects.read_text().splitlines()]


def lost(inputs: Iterable[Input], effects: Iterable[Effect]) -> set[str]:
    """Give what never had its effect."""
    return {str(each.id) for each in inputs} - {effect.id for effect in effects}


def repeated(effects: Iterable[Effect]) -> dict[str, int]:
    """Give what had its effect more than once."""
    return {id_: n for id_, n in Counter(effect.id for effect in effects).items() if n > 1}


def unflagged(effects: Iterable[Effect]) -> dict[str, int]:
    """Give what had its effect again although it was not handed out in doubt."""
    seen: set[str] = set()
    found: Counter[str] = Counter()
    for effect in effects:
        if effect.id in seen and not effect.in_doubt:
            found[effect.id] += 1
        seen.add(effect.id)
    return dict(found)
