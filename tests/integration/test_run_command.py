"""`eos run` as a user sees it, with a dummy application: no Kafka is needed."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eos.devstack.waiting import wait_until

PATIENCE = 20.0

COMMAND = [sys.executable, "-m", "eos", "run"]

APP = """
import time

from eos.core.errors import ConfigError, FencedError
from eos.core.events import Claimed, Tally
from eos.core.rules import Verdict
from eos.observe.metrics import Metrics

class App:
    def work(self, *, slot, stopping):
        Metrics("billing")(Claimed([Tally("orders", {Verdict.FRESH: 5}, 0)], "orders", 0))
        while not stopping():
            time.sleep(0.01)

class Wrong:
    def work(self, *, slot, stopping):
        raise ConfigError(["brokers='kafka': write host:port", "retries=-1: give 0 or more"])

app, wrong = App(), Wrong()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dummy.py").write_text(APP)
    return tmp_path


def finished(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_with(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    return next(line for line in process.stderr if text in line)


def page(port: str) -> list[str]:
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return str(answer.read(), "utf-8").splitlines()


def test_metrics_of_all_workers_are_on_one_port(folder: Path) -> None:
    with running(folder, "dummy:app", "--workers", "2", "--metrics-port", "0") as process:
        (port,) = re.findall(r"port=(\d+)", line_with(process, "serving /metrics"))
        wanted = 'eos_records_total{group="billing",topic="orders",verdict="fresh"} 10.0'
        assert wait_until(lambda: wanted in page(port), seconds=PATIENCE)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_faults_found_by_a_worker_are_one_line_and_exit_1(folder: Path) -> None:
    result = finished(folder, "dummy:wrong", "--workers", "2", "--log-level", "error")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"eos: worker [01]: brokers='kafka': write host:port; retries=-1: give 0 or more", last
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("dummy", "eos: 'dummy': write module:app, such as orders.main:app"),
        (
            "missing:app",
            "eos: worker 0: there is no module 'missing' in this folder or on PYTHONPATH",
        ),
        ("dummy:ap", "eos: worker 0: module 'dummy' has no 'ap'"),
    ],
)
def test_a_target_that_cannot_be_found_is_one_line_and_exits_1(
    folder: Path, target: str, message: str
) -> None:
    result = finished(folder, target)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == message
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_one_line_and_exits_1(folder: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 as the metrics port does
        port = taken.getsockname()[1]
        result = finished(folder, "dummy:app", "--metrics-port", str(port))
    assert result.returncode == 1
    assert result.stderr == f"eos: metrics port {port}: Address already in use; give another\n"


def test_log_lines_can_be_json(folder: Path) -> None:
    with running(folder, "dummy:app", "--log-json") as process:
        assert '"event": "started", "slot": 0' in line_with(process, "started")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
