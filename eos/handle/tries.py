"""Decides what becomes of a record whose handler raised: another try, or a dead letter."""

from collections.abc import Callable
from contextlib import suppress

from eos.consume.lanes import Lane, Slice
from eos.core.errors import HandlerError, RetriableError
from eos.core.events import Emit, Retried
from eos.core.ports import Ledger, Mark, Partition
from eos.core.record import Record
from eos.core.settings import Settings, duration
from eos.handle.letters import in_short
from eos.handle.steps import Step
from eos.retry import Backoff

Hold = Callable[[Lane, int, int, float], None]

_AT_MOST_ONCE = frozenset({"skip", "dead_letter"})


class Tries:
    """Counts tries, and spaces them out.

    Args:
        settings: Retries, back-off, and what becomes of a record in doubt.
        ledger: Told that a record did not begin after all: plain tier.
        hold: Reads a lane again from an offset, after so many failed tries and so many seconds.
        emit: Told of retries.
    """

    def __init__(self, settings: Settings, ledger: Ledger, hold: Hold, emit: Emit) -> None:
        self._retries = settings.retries
        self._backoff = Backoff(duration(settings.backoff))
        self._once = settings.in_doubt in _AT_MOST_ONCE
        self._ledger = ledger
        self._hold = hold
        self._emit = emit
        self._waits: dict[Partition, tuple[int, int]] = {}

    def once(self, lane: Lane) -> bool:
        """Tell whether effects in this lane shall happen once at most, rather than not at all."""
        return lane.plain and self._once

    def had_no_effect(self, step: Step, error: Exception) -> bool:
        """Tell whether the user says that whoever raises this has done nothing yet."""
        if isinstance(error, RetriableError):
            return True
        return step.retry_on is not None and isinstance(error, step.retry_on)

    def gives_up(self, step: Step, lane: Lane, record: Record, error: Exception) -> str:
        """Give the reason for a dead letter; empty if another try can help."""
        if isinstance(error, HandlerError):
            return error.reason
        if isinstance(error, RetriableError):
            return ""
        if step.retry_on is not None and not isinstance(error, step.retry_on):
            return "not_retryable"
        if self.once(lane) and not self.had_no_effect(step, error):
            return "handler_failed"
        return "handler_failed" if record.attempt > self._retries else ""

    def again(self, slice_: Slice, record: Record, error: Exception) -> Slice:
        """Read the lane again from a record after a pause; the other lanes go on meanwhile.

        The tries are counted in the offset's metadata, so that a successor goes on counting.

        Returns:
            What stands before the record: it is settled as it is.
        """
        lane, partition = slice_.lane, slice_.lane.partition
        if isinstance(error, RetriableError):
            offset, waits = self._waits.get(partition, (-1, 0))
            waits = waits + 1 if offset == record.offset else 1
            self._waits[partition] = (record.offset, waits)
            attempts, pause = record.attempt - 1, max(self._backoff.seconds(waits), error.after)
        else:
            attempts, pause = record.attempt, self._backoff.seconds(record.attempt)
        if self.once(lane):
            self._did_not_begin(lane, record.offset)
        head = slice_.split(record.offset)
        head.attempts = attempts
        self._hold(lane, record.offset, attempts, pause)
        self._emit(Retried(record.topic, record.attempt, in_short(error), given_back=slice_.read))
        return head

    def _did_not_begin(self, lane: Lane, offset: int) -> None:
        """Take back that a record began, or the policy would settle it unhandled."""
        with suppress(RetriableError):  # then only a successor, who knows the mark, will do so
            mark = Mark(lane.partition[1], lane.epoch, offset)
            if self._ledger.rewind(lane.shard, [mark]):
                lane.marked = min(lane.marked, offset)
        lane.begun = min(lane.begun, offset)
