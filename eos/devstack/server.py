"""One server process: the handle by which tests and the demo hurt it and heal it."""

import signal
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from eos.devstack.errors import DevStackError, PortTakenError
from eos.devstack.group import Account, ServerGroup
from eos.devstack.waiting import wait_until

READY_SECONDS = 120  # three brokers on a busy machine take a while
STOP_SECONDS = 30
TAIL_LINES = 20


class Server:
    """A server with a fixed command: each start uses the same ports and the same data."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        group: ServerGroup,
        logs: list[Path],
        answers: Callable[[int], bool],
        account: Account | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._group = group
        self._logs = logs
        self._answers = answers
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the server itself (of the last one, when it is down)."""
        if self._process is None:
            raise DevStackError(f"{self.name} was never started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process without waiting for it to answer; nothing happens if it is alive."""
        if not self.alive:
            self._process = self._group.spawn(self._command, self._logs[0], self._account)

    def wait_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            DevStackError: It died or stayed silent; the message ends with the tail of its log.
        """
        ready = wait_until(lambda: not self.alive or self._answers(self.pid), seconds=READY_SECONDS)
        if ready and self.alive:
            return
        if "Address already in use" in self.log_tail():
            raise PortTakenError(f"{self.name} lost its port to another process")
        how = f"did not answer within {READY_SECONDS} s" if self.alive else "died while starting"
        raise DevStackError(f"{self.name} {how}; the end of its log:\n{self.log_tail()}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.launch()
        self.wait_ready()

    def terminate(self) -> None:
        """Ask the process to stop, without waiting."""
        if self._process is not None and self.alive:
            self._process.terminate()
            self.resume()  # a paused process would not see the signal

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop in order (SIGTERM) and wait; kill what has not stopped in time."""
        self.terminate()
        if not wait_until(lambda: not self.alive, seconds=seconds):
            self.kill()

    def kill(self) -> None:
        """Kill the process at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the last lines of what the server wrote."""
        lines: deque[str] = deque(maxlen=TAIL_LINES)
        for log in self._logs:
            if log.exists():
                lines.extend(log.read_text(errors="replace").splitlines())
        return "\n".join(lines)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)  # does nothing once the process has ended
