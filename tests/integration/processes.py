"""Worker processes of a test: started, killed at a crash point, started again, and watched."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS

ROOT = Path(__file__).parents[2]


def quick(brokers: str, redis_url: str, namespace: str, **settings: Any) -> dict[str, Any]:
    """Settings under which a transaction settles every ten records, and a death is soon noticed."""
    return {
        "group": namespace,
        "brokers": brokers,
        "ledger": redis_url,
        "batch_records": 10,
        "commit_interval": 0,
        "kafka": {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300},
        **settings,
    }


def fault(port: str, method: str, when: str, call: int, action: str = "kill") -> dict[str, Any]:
    """Describe a fault of a worker process."""
    return {"port": port, "method": method, "when": when, "call": call, "action": action}


@dataclass
class Worker:
    """A slot that worker processes fill, one after the other.

    Attributes:
        settings: See `eos.Settings`.
        source: The topic to read.
        to: The topic to write.
        diary: The file that its processes note in.
        slot: The slot.
        broken: How its ports are broken, see `broken.py`; default: not at all.
        into: The URL of a database to write to, instead of a topic.
    """

    settings: dict[str, Any]
    source: str
    to: str
    diary: Path
    slot: int = 0
    broken: str = ""
    into: str = ""
    process: subprocess.Popen[bytes] | None = None
    output: list[Path] = field(default_factory=list)

    def start(self, *faults: dict[str, Any]) -> None:
        """Start a process, with faults at crash points."""
        order = {
            "settings": self.settings,
            "source": self.source,
            "to": self.to,
            "slot": self.slot,
            "diary": str(self.diary),
            "faults": faults,
            "broken": self.broken,
            "into": self.into,
        }
        self.launch("tests.integration.worker", order)

    def launch(self, program: str, order: dict[str, Any]) -> None:
        """Start a process of a module, with an order that it finds in its arguments."""
        self.output.append(self.diary.with_suffix(f".{len(self.output)}.out"))
        with self.output[-1].open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, json.dumps(order)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def exit_code(self, seconds: float = SECONDS) -> int:
        """Wait until the process is gone."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            before = self.output[-1].stat().st_size
            self.process.send_signal(signal.SIGUSR1)  # it tells where it hangs
            wait_until(lambda: self.output[-1].stat().st_size > before, seconds=1)
            raise AssertionError(f"slot {self.slot} is still running:\n{self.told()}") from None

    def drain(self) -> None:
        """Ask the process to stop, and see that it does so in order."""
        assert self.process is not None
        # Before it listens the signal would kill it: all may be settled before it has begun.
        if not wait_until(self._listens, seconds=SECONDS):
            raise AssertionError(f"slot {self.slot} does not listen:\n{self.told()}")
        self.process.send_signal(signal.SIGTERM)
        assert self.exit_code() == 0, self.told()

    def _listens(self) -> bool:
        """Tell whether it handles SIGTERM; where the system does not say, it is believed to."""
        assert self.process is not None
        if self.process.poll() is not None:
            return True  # it is gone
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return True
        caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "")
        return not caught or bool(int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1)

    def go_on(self) -> None:
        """Send SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def notes(self, what: str) -> list[dict[str, Any]]:
        """Give the notes of one kind, of all processes of this slot so far."""
        if not self.diary.exists():
            return []
        # A process that is killed may leave half a line.
        lines = self.diary.read_text().splitlines(keepends=True)
        notes = [json.loads(line) for line in lines if line.endswith("\n")]
        return [note for note in notes if note["what"] == what]

    def await_note(self, what: str, count: int = 1, seconds: float = SECONDS) -> None:
        """Wait until so many notes of one kind are there."""
        if not wait_until(lambda: len(self.notes(what)) >= count, seconds=seconds):
            raise AssertionError(f"slot {self.slot} noted no {what!r}:\n{self.told()}")

    def told(self) -> str:
        """Give what the last process said, for a test that failed."""
        diary = self.diary.read_text().splitlines()[-20:] if self.diary.exists() else []
        return "\n".join([*diary, self.output[-1].read_text(errors="replace")])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no process behind, whatever became of the test."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
