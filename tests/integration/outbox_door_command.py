"""`eos relay` as a process, and what it says."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from tests.integration.cluster import SECONDS
from tests.integration.outbox_door_kit import await_that, url_of

PATIENCE = 2 * SECONDS


@contextmanager
def relay_command(
    engine: Engine, brokers: str, namespace: str, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """Run it for as long as the block lasts."""
    given = {"EOS_OUTBOX": url_of(engine), "EOS_BROKERS": brokers, "EOS_NAMESPACE": namespace}
    with subprocess.Popen(
        [sys.executable, "-m", "eos", "relay", "--metrics-port", "0", "--poll", "200ms", *options],
        env={**os.environ, **given},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


class Told:
    """What a process says, read beside it so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def find(self, pattern: str, number: int = 0) -> re.Match[str]:
        """Wait for the n-th line that matches."""

        def found() -> list[re.Match[str]]:
            return [it for line in list(self.lines) if (it := re.search(pattern, line))]

        try:
            await_that(lambda: len(found()) > number, pattern)
        except AssertionError as error:
            raise AssertionError("".join(self.lines)) from error
        return found()[number]

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.lines.extend(self._process.stderr)


def samples(port: str) -> dict[str, float]:
    """Read `/metrics`: each series, as it is written there, and its value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answered:
        lines = str(answered.read(), "utf-8").splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {series: float(value) for series, value in pairs}
