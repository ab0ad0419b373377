"""Pools of real processes. What they run is a dummy: no Kafka is needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eos.devstack.waiting import wait_until
from eos.observe.shared import held, total
from eos.workers import Exited, Pool, PoolEvent, Started

PATIENCE = 20.0

APP = """
import os, sys, time
from pathlib import Path

from eos.core.errors import ConfigError, FencedError
from eos.core.events import Claimed, Committing, Tally
from eos.core.rules import Verdict
from eos.observe.metrics import Metrics

HERE = Path(__file__).parent

class App:
    def work(self, *, slot, stopping):
        tell = Metrics("billing")
        tell(Claimed([Tally("orders", {Verdict.FRESH: 5}, 0)], "orders", 0))
        tell(Committing(5))
        (HERE / f"up-{slot}-{os.getpid()}").touch()
        while not stopping():
            time.sleep(0.01)
        (HERE / f"drained-{slot}-{os.getpid()}").touch()

class Deaf:
    def work(self, *, slot, stopping):
        (HERE / f"up-{slot}-{os.getpid()}").touch()
        time.sleep(600)

class Fenced:
    def work(self, *, slot, stopping):
        if slot == 1:
            raise FencedError("another process has taken over\\nthe id 'a.b.1'")
        while not stopping():
            time.sleep(0.01)
        (HERE / f"drained-{slot}-{os.getpid()}").touch()

class Crashing:
    def work(self, *, slot, stopping):
        (HERE / f"up-{slot}-{os.getpid()}").touch()
        raise ValueError("boom")

app, deaf, fenced, crashing = App(), Deaf(), Fenced(), Crashing()
"""

PARENT = """
import sys
from eos.workers import run
sys.exit(run(sys.argv[1], int(sys.argv[2]), drain_seconds=float(sys.argv[3])))
"""

Parent = subprocess.Popen[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dummy.py").write_text(APP)
    return tmp_path


def marks(folder: Path, what: str, slot: int | None = None) -> list[int]:
    """Give the process ids of the workers that left such a mark."""
    pattern = f"{what}-{'*' if slot is None else slot}-*"
    return [int(path.name.rsplit("-", 1)[1]) for path in folder.glob(pattern)]


def wait_for(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, seconds=PATIENCE, every=0.01)


def alive(pid: int) -> bool:
    try:
        # A zombie, whose new parent has not looked yet, is dead.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def watch_until(pool: Pool, condition: Callable[[], bool]) -> None:
    def watched() -> bool:
        pool.watch_once()
        return condition()

    wait_for(watched)


@contextmanager
def pool_of(
    folder: Path, app: str, workers: int, *, drain_seconds: float = 20.0
) -> Iterator[tuple[Pool, list[PoolEvent]]]:
    told: list[PoolEvent] = []
    with Pool(
        f"dummy:{app}",
        workers,
        drain_seconds=drain_seconds,
        environment={"PYTHONPATH": str(folder)},
        output=folder / "workers.log",
        tell=told.append,
    ) as pool:
        pool.start()
        yield pool, told


@contextmanager
def parent_of(
    folder: Path,
    app: str,
    workers: int,
    *,
    drain_seconds: float = 20.0,
    process_group: int | None = None,
) -> Iterator[Parent]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, f"dummy:{app}", str(workers), str(drain_seconds)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},  # a parent that is killed removes nothing
        stderr=subprocess.PIPE,
        text=True,
        process_group=process_group,
    ) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def test_every_slot_has_a_worker(folder: Path) -> None:
    with pool_of(folder, "app", 3) as (pool, told):
        watch_until(pool, lambda: len(marks(folder, "up")) == 3)
        assert pool.pids() == {slot: marks(folder, "up", slot)[0] for slot in range(3)}
        assert told == [Started(slot, pid) for slot, pid in pool.pids().items()]


def test_a_killed_worker_is_replaced_under_its_slot_at_the_next_look(folder: Path) -> None:
    with pool_of(folder, "app", 2) as (pool, told):
        watch_until(pool, lambda: len(marks(folder, "up")) == 2)
        before = pool.pids()
        os.kill(before[1], signal.SIGKILL)
        os.waitid(os.P_PID, before[1], os.WEXITED | os.WNOWAIT)
        pool.watch_once()
        after = pool.pids()
        assert after[0] == before[0]
        assert told[2:] == [Exited(1, before[1], -signal.SIGKILL), Started(1, after[1])]
        watch_until(pool, lambda: marks(folder, "up", 1).count(after[1]) == 1)


def test_a_worker_that_crashes_is_started_again_and_says_why(folder: Path) -> None:
    with pool_of(folder, "crashing", 1) as (pool, told):
        watch_until(pool, lambda: len(marks(folder, "up", 0)) >= 3)
        assert pool.failure is None
        first = told[0]
        assert told[1] == Exited(0, first.pid, 1)
    assert "ValueError: boom" in (folder / "workers.log").read_text()


def test_stopping_lets_every_worker_drain(folder: Path) -> None:
    with pool_of(folder, "app", 2) as (pool, told):
        watch_until(pool, lambda: len(marks(folder, "up")) == 2)
        pids = pool.pids()
        assert pool.stop()
        assert sorted(marks(folder, "drained")) == sorted(pids.values())
        assert {event for event in told if isinstance(event, Exited)} == {
            Exited(slot, pid, 0) for slot, pid in pids.items()
        }
        pool.watch_once()
        assert pool.pids() == {}


def test_a_worker_that_is_asked_before_it_is_up_drains_too(folder: Path) -> None:
    with pool_of(folder, "app", 2) as (pool, _):
        assert pool.stop()
        assert len(marks(folder, "drained")) == 2
    assert "Traceback" not in (folder / "workers.log").read_text()


def test_a_paused_worker_drains_too(folder: Path) -> None:
    with pool_of(folder, "app", 1) as (pool, _):
        watch_until(pool, lambda: bool(marks(folder, "up")))
        os.kill(pool.pids()[0], signal.SIGSTOP)
        assert pool.stop()
        assert len(marks(folder, "drained")) == 1


def test_a_worker_that_does_not_drain_in_time_is_killed(folder: Path) -> None:
    with pool_of(folder, "deaf", 1, drain_seconds=0.1) as (pool, told):
        watch_until(pool, lambda: bool(marks(folder, "up")))
        assert not pool.stop()
        assert isinstance(told[-1], Exited)
        assert told[-1].code == -signal.SIGKILL


def test_a_fatal_error_stops_all_and_is_not_tried_again(folder: Path) -> None:
    with pool_of(folder, "fenced", 2) as (pool, told):
        pool.watch(stopping=lambda: False)
        assert not pool.stop()
        assert pool.failure == "worker 1: another process has taken over the id 'a.b.1'"
        assert [event.slot for event in told if isinstance(event, Started)] == [0, 1]
        assert len(marks(folder, "drained", 0)) == 1


def test_what_a_killed_worker_counted_stays_and_what_it_held_is_abandoned(folder: Path) -> None:
    with pool_of(folder, "app", 2) as (pool, _):
        watch_until(pool, lambda: len(marks(folder, "up")) == 2)
        os.kill(pool.pids()[0], signal.SIGKILL)
        watch_until(pool, lambda: len(marks(folder, "up")) == 3)
        counts = {
            name: total(pool.metrics_folder, name)
            for name in (
                "eos_records_total",
                "eos_in_flight_records",
                "eos_records_abandoned_total",
                "eos_committing",
            )
        }
    assert list(counts.values()) == [15, 10, 5, 2]


def test_what_a_paused_worker_holds_is_read_from_the_pool(folder: Path) -> None:
    with pool_of(folder, "app", 1) as (pool, _):
        watch_until(pool, lambda: bool(marks(folder, "up")))
        pid = pool.pids()[0]
        os.kill(pid, signal.SIGSTOP)
        assert held(pool.metrics_folder, pid) == (5, True)


def test_what_a_killed_worker_held_is_known_when_its_exit_is_told(folder: Path) -> None:
    seen = []

    def tell(event: PoolEvent) -> None:
        if isinstance(event, Exited):
            seen.append(held(pool.metrics_folder, event.pid))

    pool = Pool("dummy:app", 1, environment={"PYTHONPATH": str(folder)}, tell=tell)
    with pool:
        pool.start()
        watch_until(pool, lambda: bool(marks(folder, "up")))
        os.kill(pool.pids()[0], signal.SIGKILL)
        watch_until(pool, lambda: bool(seen))
    assert seen[0] == (5, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_drains_every_worker(folder: Path, number: signal.Signals) -> None:
    with parent_of(folder, "app", 2) as parent:
        wait_for(lambda: len(marks(folder, "up")) == 2)
        parent.send_signal(number)
        _, stderr = parent.communicate(timeout=PATIENCE)
        assert parent.returncode == 0, stderr
        assert sorted(marks(folder, "drained")) == sorted(marks(folder, "up"))
        assert "Traceback" not in stderr


def test_ctrl_c_in_a_terminal_reaches_all_and_drains_them(folder: Path) -> None:
    with parent_of(folder, "app", 2, process_group=0) as parent:
        wait_for(lambda: len(marks(folder, "up")) == 2)
        os.killpg(parent.pid, signal.SIGINT)
        _, stderr = parent.communicate(timeout=PATIENCE)
        assert parent.returncode == 0, stderr
        assert len(marks(folder, "drained")) == 2
        assert "Traceback" not in stderr


def test_a_second_signal_kills(folder: Path) -> None:
    with parent_of(folder, "deaf", 2, drain_seconds=60) as parent:
        wait_for(lambda: len(marks(folder, "up")) == 2)
        parent.send_signal(signal.SIGTERM)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(timeout=PATIENCE) == 1
        assert not any(map(alive, marks(folder, "up")))


def test_workers_drain_and_go_when_the_parent_is_killed(folder: Path) -> None:
    with parent_of(folder, "app", 2) as parent:
        wait_for(lambda: len(marks(folder, "up")) == 2)
        parent.kill()
        wait_for(lambda: len(marks(folder, "drained")) == 2)
        wait_for(lambda: not any(map(alive, marks(folder, "up"))))


def test_workers_that_do_not_drain_go_too_when_the_parent_is_killed(folder: Path) -> None:
    with parent_of(folder, "deaf", 2, drain_seconds=0.2) as parent:
        wait_for(lambda: len(marks(folder, "up")) == 2)
        parent.kill()
        wait_for(lambda: not any(map(alive, marks(folder, "up"))))
