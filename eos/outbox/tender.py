"""The thread that tends one shard: opens it, takes turns, waits, and begins anew where it must."""

import threading
import time
from collections.abc import Callable

from eos.core.errors import AbortableError, EosError, FatalError, FencedError, RetriableError
from eos.core.events import Emit, ShardOpened, ShardStopped
from eos.outbox.shard import ShardLine
from eos.retry import Backoff

FORGET_SECONDS = 60.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_SLICE_SECONDS = 0.2


class Tender:
    """Tends one shard until it is told to stop.

    Args:
        number: The shard's number.
        make: Makes the shard's line; in the thread, because that connects.
        poll: Rows are looked for at least this often, in seconds.
        emit: Told what happens, in this thread.

    Attributes:
        failure: What ended it though nobody asked it to stop; None otherwise.
    """

    def __init__(self, number: int, make: Callable[[], ShardLine], poll: float, emit: Emit) -> None:
        self.number = number
        self.failure: BaseException | None = None
        self._make = make
        self._poll = poll
        self._emit = emit
        self._stopping = threading.Event()
        self._line: ShardLine | None = None
        self._failures = 0
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._thread = threading.Thread(target=self._run, name=f"outbox-{number}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop after this turn."""
        self._stopping.set()

    def ended(self, seconds: float = 0.0) -> bool:
        """Wait for its end; False if it has not come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def is_overdue(self, seconds: float) -> bool:
        """Tell whether a call into Kafka takes longer than this: then it does not come back."""
        return self._line is not None and self._line.seconds_in_kafka() > seconds

    def abandon(self) -> None:
        """Let go of the thread: what it may still do is fenced by its successor."""
        self._stopping.set()
        if self._line is not None:
            self._line.abandon()

    def _run(self) -> None:
        try:
            self._line = line = self._make()
            try:
                while not self._stopping.is_set():
                    self._attempt(line)
            finally:
                line.close()
        except BaseException as error:  # noqa: BLE001 the relay raises it, in its own thread
            self.failure = error

    def _attempt(self, line: ShardLine) -> None:
        """Open the shard, and take turns until something fails."""
        try:
            line.open()
            self._emit(ShardOpened(self.number))
            forget_at = 0.0
            while not self._stopping.is_set():
                if line.turn():
                    self._failures = 0
                    continue
                if time.monotonic() >= forget_at and not line.forget():
                    forget_at = time.monotonic() + FORGET_SECONDS
                self._wait(line.wait, self._poll)
        except (AbortableError, RetriableError) as error:
            self._start_over(line, error)

    def _start_over(self, line: ShardLine, error: AbortableError | RetriableError) -> None:
        line.abort()
        self._failures += 1
        cause = error.cause if isinstance(error, AbortableError) else "server_away"
        self._emit(ShardStopped(self.number, cause, str(error)))
        if isinstance(error, RetriableError) or self._failures > 1:
            self._wait(self._stopping.wait, self._backoff.seconds(self._failures))

    def _wait(self, wait: Callable[[float], object], seconds: float) -> None:
        """Wait until that says so, or this long, or until it is to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            if wait(min(left, _SLICE_SECONDS)):
                break


def is_taken_over(error: BaseException | None) -> bool:
    """Tell whether another relay has the shard now."""
    return isinstance(error, FencedError)


def is_final(error: BaseException | None) -> bool:
    """Tell whether no new start can help."""
    return isinstance(error, FatalError) or (error is not None and not isinstance(error, EosError))
