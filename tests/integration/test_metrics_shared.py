import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eos.core.errors import ConfigError
from eos.observe.shared import Held, Server, bury, environment, held, serve, total

WORKER = """
import sys
from eos.core.events import Claimed, Committed, Committing, Tally
from eos.core.rules import Verdict
from eos.observe.metrics import Metrics

tell = Metrics("billing")
for line in sys.stdin:
    match line.split():
        case ["claim", count]:
            tell(Claimed([Tally("orders", {Verdict.FRESH: int(count)}, 0)], "orders", 0))
        case ["begin"]:
            tell(Committing(0))
        case ["commit", count]:
            tell(Committed([Tally("orders", {Verdict.FRESH: int(count)}, 0)], [], 0, 0.2))
    print("done", flush=True)
"""

Start = Callable[[], "Worker"]


class Worker:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={**os.environ, **environment(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def do(self, command: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def one() -> Worker:
        workers.append(Worker(tmp_path))
        return workers[-1]

    yield one
    for worker in workers:
        worker.kill()


def scrape(server: Server) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        return str(answer.read(), "utf-8").splitlines()


def test_one_port_serves_the_sum_of_all_workers(tmp_path: Path, start: Start) -> None:
    start().do("claim 3")
    start().do("claim 4")
    with serve(0, tmp_path) as server:
        lines = scrape(server)
    assert 'eos_records_total{group="billing",topic="orders",verdict="fresh"} 7.0' in lines
    assert 'eos_in_flight_records{group="billing"} 7.0' in lines


def test_what_a_stopped_worker_holds_is_read_from_outside(tmp_path: Path, start: Start) -> None:
    worker, other = start(), start()
    worker.do("claim 5")
    worker.do("begin")
    other.do("claim 1")
    os.kill(worker.pid, signal.SIGSTOP)
    assert held(tmp_path, worker.pid) == Held(records=5, committing=True)
    assert held(tmp_path, other.pid) == Held(records=1, committing=False)


def test_a_worker_that_nobody_knows_holds_nothing(tmp_path: Path) -> None:
    assert held(tmp_path, 1) == Held(records=0, committing=False)


def test_what_a_killed_worker_held_is_known_until_it_is_buried(
    tmp_path: Path, start: Start
) -> None:
    worker = start()
    worker.do("claim 5")
    worker.kill()
    assert held(tmp_path, worker.pid).records == 5
    bury(tmp_path, worker.pid)
    assert held(tmp_path, worker.pid).records == 0
    assert total(tmp_path, "eos_in_flight_records") == 0


def test_counts_of_dead_workers_stay_and_their_records_add_up(tmp_path: Path, start: Start) -> None:
    for _ in range(3):
        worker = start()
        worker.do("claim 6")
        worker.do("begin")
        worker.do("commit 6")
        worker.do("claim 5")
        worker.kill()
        bury(tmp_path, worker.pid)
    start().do("claim 2")
    claimed = {"eos_records_total": 35, "eos_records_settled_total": 18}
    lost = {"eos_records_abandoned_total": 15, "eos_in_flight_records": 2}
    for name, value in (claimed | lost).items():
        assert total(tmp_path, name, group="billing") == value, name
    assert total(tmp_path, "eos_transaction_duration_seconds_bucket", le="0.25") == 3
    assert total(tmp_path, "eos_transaction_duration_seconds_count") == 3


def test_the_dead_take_no_more_room_however_many_they_are(tmp_path: Path, start: Start) -> None:
    sizes = []
    for _ in range(3):
        worker = start()
        worker.do("claim 6")
        worker.kill()
        bury(tmp_path, worker.pid)
        sizes.append({path.name: path.stat().st_size for path in tmp_path.iterdir()})
    assert sizes[0] == sizes[1] == sizes[2]


def test_a_file_that_a_worker_died_opening_does_not_break_the_page(
    tmp_path: Path, start: Start
) -> None:
    start().do("claim 3")
    (tmp_path / "counter_4711.db").touch()
    (tmp_path / "gauge_livesum_4711.db").touch()
    assert total(tmp_path, "eos_records_total") == 3
    assert held(tmp_path, 4711).records == 0
    bury(tmp_path, 4711)
    assert not list(tmp_path.glob("*_4711.db"))


def test_a_port_that_is_taken_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with serve(0, tmp_path) as server, pytest.raises(ConfigError, match=str(server.port)):
        serve(server.port, tmp_path)
