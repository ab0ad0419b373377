"""The line: consume, claim, handle, settle. A record's whole way, read top to bottom."""

from collections.abc import Callable

from eos.claim import Claim
from eos.consume import Consume
from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Emit, Waiting
from eos.handle import Handle
from eos.operate.window import Window
from eos.retry import Backoff
from eos.settle import Settle


class Line:
    """Takes records along the four steps until it is told to stop.

    Args:
        consume: Reads batches from open partitions.
        claim: Leaves in a batch what is to be handled.
        handle: Calls the user's function.
        settle: Commits outputs and frontiers together.
        window: Lets the ledger forget what no window needs any more.
        backoff: Pauses between failures in a row.
        emit: Told whom it waits for.
    """

    def __init__(
        self,
        consume: Consume,
        claim: Claim,
        handle: Handle,
        settle: Settle,
        window: Window,
        backoff: Backoff,
        emit: Emit,
    ) -> None:
        self.consume = consume
        self.claim = claim
        self.handle = handle
        self.settle = settle
        self.window = window
        self._backoff = backoff
        self._emit = emit
        self._failures = 0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Go on until `stopping()`; then settle what is handled, and leave the group.

        Raises:
            FatalError: Going on could lose or repeat a record.
        """
        try:
            self.attempt(self.settle.prepare)
            while not stopping():
                self.attempt(self.turn)
            self.attempt(self.settle.finish)
        finally:
            self.settle.close()
            self.consume.close()

    def turn(self) -> None:
        """Take one batch along the line."""
        batch = self.consume()
        claimed = self.claim(batch)
        handled = self.handle(claimed)
        if self.settle(handled):
            self._failures = 0
        self.window.advance()

    def attempt(self, work: Callable[[], None]) -> None:
        """Do a piece of work; what can be made good is started over."""
        try:
            work()
        except (AbortableError, RetriableError) as error:
            self._start_over(error)

    def _start_over(self, error: AbortableError | RetriableError) -> None:
        """Give up what is pending and rewind to the frontier, after a pause if it is not new."""
        error = self.settle.drop(error)
        self.claim.release_seals()
        if isinstance(error, AbortableError) and error.cause == "rebalance":
            self.consume.rewind(reopen=False)
            return
        self._failures += 1
        calm = isinstance(error, AbortableError) and self._failures == 1
        hold = 0.0 if calm else self._backoff.seconds(self._failures)
        if isinstance(error, RetriableError):
            self._emit(Waiting(error.on, hold, str(error)))
        self.consume.rewind(reopen=True, hold=hold)
