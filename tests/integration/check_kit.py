"""`eos check` as a user runs it: a process, its exit code, and what it printed."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0

APP = """
import os

import eos

app = eos.App(group="{group}", **{settings!r})


@app.step("{source}", to="{to}")
def handle(record):
    return eos.Send(record.value)
"""


@dataclass(frozen=True)
class Checked:
    """What a run told.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it printed as an error.
    """

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of its JSON."""
        assert self.out, (self.code, self.err)
        found: list[dict[str, str]] = json.loads(self.out)["rows"]
        return found

    def told(self, level: str) -> list[str]:
        """Give the rows of a level, each as one line."""
        return [
            f"{row['what']}: {row['found']} -> {row['advice']}"
            for row in self.rows
            if row["level"] == level
        ]

    @property
    def faults(self) -> list[str]:
        """Its faults."""
        return self.told("fault")

    @property
    def warnings(self) -> list[str]:
        """Its warnings."""
        return self.told("warning")

    @property
    def fine(self) -> list[str]:
        """What is as it should be."""
        return self.told("ok")


def check(folder: Path, *arguments: str, **environment: str) -> Checked:
    """Run it in a folder, with nothing of ours in the environment but what is given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EOS_")}
    done = subprocess.run(
        [sys.executable, "-m", "eos", "check", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Checked(done.returncode, done.stdout, done.stderr)


def write_app(folder: Path, *, group: str, source: str, to: str, **settings: Any) -> str:
    """Write an app of one step into a folder; give its target."""
    (folder / "shop.py").write_text(
        APP.format(group=group, source=source, to=to, settings={"secret": "s", **settings})
    )
    return "shop:app"


def only(lines: list[str], *parts: str) -> str:
    """Give the one line that has all of these parts."""
    found = [line for line in lines if all(part in line for part in parts)]
    assert len(found) == 1, (parts, lines)
    return found[0]
