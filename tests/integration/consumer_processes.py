"""Processes with a loop around `eos.Consumer`: started, killed at a crash point, started again."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.integration.plain import PlainWorker
from tests.integration.processes import ROOT


@dataclass
class LoopWorker(PlainWorker):
    """A slot that such processes fill, one after the other.

    Attributes:
        conf: The configuration of the consumer.
        loop: `poll` or `consume`.
    """

    conf: dict[str, Any] = field(default_factory=dict)
    loop: str = "poll"

    def start(self, *faults: dict[str, Any], die: dict[str, Any] | None = None) -> None:
        """Start a process, with faults at calls of its ports, or in the middle of an effect."""
        order = {
            "settings": self.settings,
            "conf": self.conf,
            "loop": self.loop,
            "source": self.source,
            "to": self.to,
            "diary": str(self.diary),
            "effects": str(self.effects),
            "faults": faults,
            "die": die or {},
        }
        self.output.append(self.diary.with_suffix(f".{len(self.output)}.out"))
        with self.output[-1].open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.consumer_worker", json.dumps(order)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
