"""A pool of worker processes: restarts the dead under their slot, and stops all in order."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eos.core.errors import ConfigError
from eos.observe import shared
from eos.observe.logs import say
from eos.workers.contract import HOPELESS, STOP_SIGNALS, split

DRAIN_SECONDS = 30.0
WATCH_SECONDS = 0.05

# The first restart is at once. A worker that dies again before it was up this long waits, each
# time twice as long.
_STEADY_SECONDS = 2.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

_logger = logging.getLogger("eos.workers")


@dataclass(frozen=True, slots=True)
class Started:
    """A worker was started, for the first time or again."""

    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker is gone.

    Attributes:
        slot: Its slot.
        pid: Its process id; `eos.observe.shared.held` still knows it while this is told.
        code: Its exit code; a signal that killed it is negative.
    """

    slot: int
    pid: int
    code: int


PoolEvent = Started | Exited


def _nobody(_event: PoolEvent) -> None:
    """Listen to nothing."""


def _never() -> bool:
    return False


class Pool:
    """N workers of one application.

    Call `start`, then `watch_once` every now and then, from any one thread; at last `stop`.

    Args:
        target: The application, as `module:app`.
        workers: How many; their slots are 0 to N-1.
        log_level: `debug`, `info`, `warning` or `error`.
        log_json: Whether workers log JSON lines.
        drain_seconds: How long workers may drain before they are killed, default 30.
        environment: Variables on top of this process's own.
        output: A file to append the workers' output to; None leaves it on ours.
        tell: Told of starts and exits, from the thread that watches.

    Attributes:
        metrics_folder: Where the workers count, for `eos.observe.shared`; gone after `close`.
        failure: Why the pool stopped by itself: the last words of a worker that no restart can
            help; None if there was none.

    Raises:
        ConfigError: If the target is not of that form, or there is not one worker.
    """

    def __init__(
        self,
        target: str,
        workers: int,
        *,
        log_level: str = "info",
        log_json: bool = False,
        drain_seconds: float = DRAIN_SECONDS,
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
        tell: Callable[[PoolEvent], None] = _nobody,
    ) -> None:
        split(target)
        if workers < 1:
            raise ConfigError([f"workers={workers}: give at least 1"])
        self._target = target
        self._options = ["--log-level", log_level, *(["--log-json"] if log_json else [])]
        self._drain_seconds = drain_seconds
        self._output = output
        self._tell = tell
        self._temporary = tempfile.TemporaryDirectory(prefix="eos-workers-")
        self._folder = Path(self._temporary.name)
        self.metrics_folder = self._folder / "metrics"
        self.metrics_folder.mkdir()
        self._environment = {
            **os.environ,
            **(environment or {}),
            **shared.environment(self.metrics_folder),
        }
        self._workers = [_Worker(slot) for slot in range(workers)]
        self._stopping = False
        self._clean = True
        self.failure: str | None = None
        self._lock = threading.RLock()

    def start(self) -> None:
        """Start all workers, without waiting for them to be ready."""
        self.watch_once()

    def pids(self) -> dict[int, int]:
        """Give the process id of each worker that is up, by slot."""
        with self._lock:
            return {worker.slot: worker.pid for worker in self._workers if worker.process}

    def watch_once(self) -> None:
        """Take note of who died, and restart whose turn it is."""
        with self._lock:
            for worker in self._workers:
                self._reap(worker)
            for worker in self._workers:
                if not (self._stopping or worker.process) and worker.due <= time.monotonic():
                    self._start(worker)

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Watch until told to stop, or until a worker failed for good."""
        while not stopping() and self.failure is None:
            self.watch_once()
            time.sleep(WATCH_SECONDS)

    def stop(self, hurry: Callable[[], bool] = _never) -> bool:
        """Let all workers drain; kill those that take too long.

        Args:
            hurry: Asked again and again; True ends the patience at once.

        Returns:
            True if every worker drained and left by itself.
        """
        self._ask_to_stop()
        deadline = time.monotonic() + self._drain_seconds
        while self.pids() and time.monotonic() < deadline and not hurry():
            self.watch_once()
            time.sleep(WATCH_SECONDS)
        for slot, pid in self.pids().items():
            say(_logger, logging.WARNING, "killed: did not drain in time", slot=slot, pid=pid)
        with self._lock:
            for worker in self._workers:
                if worker.process:
                    worker.process.kill()
                    worker.process.wait()
            self.watch_once()
        return self._clean

    def close(self) -> None:
        """Stop, and remove what the workers counted."""
        self.stop()
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_to_stop(self) -> None:
        with self._lock:
            self._stopping = True
            for worker in self._workers:
                if worker.process:
                    worker.process.terminate()
                    worker.process.send_signal(signal.SIGCONT)  # one that is stopped hears nothing

    def _start(self, worker: "_Worker") -> None:
        command = [
            *(sys.executable, "-m", "eos.workers.child", self._target),
            *("--slot", str(worker.slot), "--parent", str(os.getpid())),
            *("--grace", str(self._drain_seconds)),
            *("--last-words", str(self._last_words(worker))),
            *self._options,
        ]
        with ExitStack() as stack:
            stack.enter_context(_signals_held_back())
            output = stack.enter_context(self._output.open("ab")) if self._output else None
            worker.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
            )
        worker.started = time.monotonic()
        say(_logger, logging.INFO, "started", slot=worker.slot, pid=worker.pid)
        self._tell(Started(worker.slot, worker.pid))

    def _reap(self, worker: "_Worker") -> None:
        if worker.process is None or (code := worker.process.poll()) is None:
            return
        pid = worker.pid
        self._tell(Exited(worker.slot, pid, code))
        shared.bury(self.metrics_folder, pid)
        worker.process = None
        if code in HOPELESS:
            self._fail(worker)
        elif self._stopping:
            self._clean = self._clean and code == 0
        else:
            worker.wait_for_turn(time.monotonic())
        level = logging.INFO if self._stopping and code == 0 else logging.WARNING
        say(_logger, level, "gone", slot=worker.slot, pid=pid, how=_how(code))

    def _fail(self, worker: "_Worker") -> None:
        self._clean = False
        words = self._last_words(worker)
        said = words.read_text(encoding="utf-8") if words.exists() else "stopped for good"
        self.failure = self.failure or f"worker {worker.slot}: {said}"
        self._ask_to_stop()

    def _last_words(self, worker: "_Worker") -> Path:
        return self._folder / f"last-words-{worker.slot}"


@dataclass(slots=True)
class _Worker:
    """One slot and who fills it.

    Attributes:
        slot: The number.
        process: Who fills it; None between an exit and the restart.
        started: When the last process was started, monotonic seconds.
        due: When the next one may be started.
        early_deaths: How many in a row died before they were steady.
    """

    slot: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    early_deaths: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def wait_for_turn(self, now: float) -> None:
        """Choose when to start again."""
        steady = now - self.started >= _STEADY_SECONDS
        self.early_deaths = 0 if steady else min(self.early_deaths + 1, 10)
        pause = _FIRST_PAUSE * 2 ** (self.early_deaths - 2) if self.early_deaths > 1 else 0.0
        self.due = now + min(pause, _LONGEST_PAUSE)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Start a process with stop signals blocked; it unblocks them once it has handlers.

    Without this, Ctrl-C during the start of a worker would end it with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
