"""Calls the user's handler, outside of any transaction, and collects what is to be sent."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from eos.consume.lanes import Lane, Slice
from eos.core.errors import AbortableError, RetriableError
from eos.core.events import DeadLettered, Emit, GivenAway, Retried
from eos.core.ports import NO_INBOXES, Effects, Inbox, Ledger, Mark
from eos.core.record import Record
from eos.core.settings import Reconcile, Settings
from eos.handle.handled import Given, Handled
from eos.handle.inside import Inside
from eos.handle.letters import DeadLetters, Output, in_short
from eos.handle.outputs import Outputs, Result, results_of
from eos.handle.steps import Step
from eos.handle.tries import Hold, Tries


class Handle:
    """The third step of the line.

    A handler that raises is tried again after a pause. Its partition waits, so that its order
    holds, and the others go on. When its retries are used up the record becomes a dead letter, in
    the same transaction as its offset. A `RetriableError` says that what the handler needs is
    away: it is tried again for as long as it takes.

    Plain tier: a try that failed may have had its effect. The record comes again in doubt, or,
    where its effect shall happen once at most, becomes a dead letter at once; unless the step
    names the exception in `retry_on`, which is the user's word that it had none.

    Args:
        steps: The steps, by source topic.
        settings: Retries, back-off, policies, and the dead letter topic's name.
        max_bytes: How large a message may be.
        ledger: Told what begins: plain tier.
        hold: Reads a lane again from an offset, after so many failed tries and so many seconds.
        emit: Told of retries.
        holds: Tells whether a lane is still ours: the group may take it while a handler is busy.
        inboxes: The databases of those topics whose effects go into one.
        inside: Claims in a transaction of theirs, where it is the ledger as well.
    """

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        settings: Settings,
        max_bytes: int,
        ledger: Ledger,
        hold: Hold,
        emit: Emit,
        holds: Callable[[Lane], bool] = lambda _: True,
        inboxes: Mapping[str, Inbox] = NO_INBOXES,
        inside: Callable[[Effects, list[Slice]], None] = lambda _effects, _slices: None,
    ) -> None:
        self._holds = holds
        self._steps = {step.source: step for step in steps}
        self._outputs = Outputs(steps, settings.namespace, max_bytes)
        self._letters = DeadLetters(settings.dead_letters, max_bytes, settings.group)
        self._tries = Tries(settings, ledger, hold, emit)
        self._reconcile = settings.reconcile if settings.in_doubt == "reconcile" else None
        self._ledger = ledger
        self._emit = emit
        self._inside = Inside(inboxes, inside, self._tries, self, holds)

    def __call__(self, batch: list[Slice]) -> list[Handled]:
        """Handle what is left in each slice.

        Raises:
            AbortableError: Plain tier: the ledger was lost, or the partition is somebody else's.
            RetriableError: Plain tier: the ledger is away.
            Exception: One that the step calls fatal.
        """
        for slice_ in batch:
            self._go_ahead(slice_)
        handled = [self._handle(slice_) for slice_ in batch if not slice_.lane.inbox]
        inside = groupby(sorted((s for s in batch if s.lane.inbox), key=_topic), _topic)
        try:
            for topic, slices in inside:
                handled += self._inside(self._steps[topic], list(slices))
        except BaseException:
            for each in handled:
                if each.effects is not None:
                    each.effects.rollback()
            raise
        return handled

    def _go_ahead(self, slice_: Slice) -> None:
        """Let a handler begin with all partitions at once, unless each record is asked about."""
        step, records = self._steps[slice_.lane.partition[0]], slice_.records
        if step.ahead is None or not records or self._reconcile or self._tries.once(slice_.lane):
            return
        self._begin(slice_, records[-1])
        step.ahead(records)

    def _handle(self, slice_: Slice) -> Handled:
        step = self._steps[slice_.lane.partition[0]]
        handled = Handled(slice_)
        self._outputs.lane = slice_.lane
        decoded = self.decoded(step, handled)
        if step.batch:
            self._handle_batch(step, handled, list(decoded))
        else:
            self._handle_each(step, handled, self._reconciled(step, handled, decoded))
        self.finish(handled)
        return handled

    def finish(self, handled: Handled) -> None:
        """Make dead letters of what the handler was not given: last, for some may be cut off."""
        for record, error in handled.undecodable:
            if record.offset < handled.slice.end:
                self._reject(handled, record, "undecodable", error)
        for record, reason in handled.slice.rejected:
            self._reject(handled, record, reason)

    def decoded(self, step: Step, handled: Handled) -> Iterator[Given]:
        """Give what the handler gets. There is nothing to decode in a tombstone."""
        decode = step.decode
        for record in handled.slice.records:
            raw = record.value
            if decode is not None and raw is not None:
                try:
                    record.value = decode(raw)
                except step.fatal:
                    raise
                except RetriableError as error:
                    handled.slice = self._tries.again(handled.slice, record, error)
                    return
                except Exception as error:  # noqa: BLE001 what somebody sent may be anything
                    handled.undecodable.append((record, error))
                    continue
            yield record, raw

    def _handle_batch(self, step: Step, handled: Handled, batch: list[Given]) -> None:
        """Try the batch as a whole; after a failure, each record by itself."""
        if not batch:
            return
        records = [record for record, _ in batch]
        lane = handled.slice.lane
        if self._reconcile is not None and any(record.in_doubt for record in records):
            self._handle_each(step, handled, self._reconciled(step, handled, batch))
            return
        self._begin(handled.slice, records[-1])
        try:
            results = results_of(step, records, step.handler(list(records)))  # a copy to empty
        except step.fatal:  # the user's word that going on is wrong
            raise
        except RetriableError as error:
            handled.slice = self._tries.again(handled.slice, records[0], error)
            return
        except Exception as error:  # noqa: BLE001 the user's code may raise anything
            if self._tries.once(lane) and not self._tries.had_no_effect(step, error):
                for record, raw in batch:
                    self.fail(handled, record, raw, "handler_failed", error)
                return
            self._emit(Retried(step.source, records[0].attempt, in_short(error)))
            for record in records:
                # Effects outside of Kafka may have taken place.
                record.in_doubt |= lane.plain and not self._tries.once(lane)
            self._handle_each(step, handled, self._reconciled(step, handled, batch))
            return
        self._take(step, handled, batch, results)

    def _take(
        self, step: Step, handled: Handled, batch: list[Given], results: list[Result]
    ) -> None:
        """Go by what a handler of lists returned, up to a record that is to be tried again."""
        for (record, raw), result in zip(batch, results, strict=True):
            if not self._take_one(step, handled, record, raw, result):
                return

    def _take_one(
        self, step: Step, handled: Handled, record: Record, raw: bytes | None, result: Result
    ) -> bool:
        """Go by what a handler returned for a record; an exception says that it failed.

        Returns:
            False if the record is to be tried again, and the rest of the batch with it.
        """
        try:
            handled.outputs += self._outputs(step, record, result)
        except step.fatal:  # the user's word that going on is wrong
            raise
        except Exception as error:  # noqa: BLE001 the user's code may return anything
            reason = self._tries.gives_up(step, handled.slice.lane, record, error)
            # Those behind it were handled, and are marked as begun.
            once = self._tries.once(handled.slice.lane)
            return self._failed(handled, record, raw, reason or "handler_failed" * once, error)
        return True

    def _failed(
        self, handled: Handled, record: Record, raw: bytes | None, reason: str, error: Exception
    ) -> bool:
        """Make a dead letter of a record, if there is a reason; else have it tried again."""
        if not reason:
            handled.slice = self._tries.again(handled.slice, record, error)
            return False
        self.fail(handled, record, raw, reason, error)
        return True

    def _reconciled(
        self, step: Step, handled: Handled, records: Iterable[Given]
    ) -> Iterable[Given]:
        """Leave out what had its effect, where a function can tell."""
        if self._reconcile is None:
            return records
        return self._asked(self._reconcile, step, handled, records)

    def _asked(
        self, reconcile: Reconcile, step: Step, handled: Handled, records: Iterable[Given]
    ) -> Iterator[Given]:
        """Ask about what is in doubt.

        It is asked about each record when its turn has come: of two copies that are both in doubt
        the first may have its effect only now.
        """
        for record, raw in records:
            if record.in_doubt:
                try:
                    if reconcile(record):
                        continue
                except step.fatal:
                    raise
                except Exception as error:  # noqa: BLE001 the user's code may raise anything
                    away = RetriableError(f"reconcile: {in_short(error)}", on="reconcile")
                    handled.slice = self._tries.again(handled.slice, record, away)
                    return
            yield record, raw

    def _handle_each(self, step: Step, handled: Handled, records: Iterable[Given]) -> None:
        lane, first = handled.slice.lane, handled.slice.start
        for record, raw in records:
            if record.offset > first and not self._holds(lane):
                self.leave(handled, record)
                return
            self._begin(handled.slice, record)
            try:
                result = step.handler([record] if step.batch else record)
                if step.batch:
                    (result,) = results_of(step, [record], result)
                handled.outputs += self._outputs(step, record, result)
            except step.fatal:  # the user's word that going on is wrong
                raise
            except Exception as error:  # noqa: BLE001 the user's code may raise anything
                reason = self._tries.gives_up(step, lane, record, error)
                if not self._failed(handled, record, raw, reason, error):
                    return

    def leave(self, handled: Handled, record: Record) -> None:
        """Handle no more of a lane that the vigil gave away: its new owner does.

        What was handled of it goes the usual way, and is settled or refused; so do other lanes.
        """
        rest = handled.slice
        handled.slice = rest.split(record.offset)
        self._emit(GivenAway(*rest.lane.partition, given_back=rest.read))

    def _begin(self, slice_: Slice, record: Record) -> None:
        """Plain tier: note that the records up to this one begin, before the handler is called."""
        lane = slice_.lane
        if not lane.plain:
            return
        mark = Mark(lane.partition[1], lane.epoch, record.offset + 1)
        if lane.marked < mark.offset:
            lane.marked = mark.offset  # before: it is ours even if the answer is lost
            if not self._ledger.begin(lane.shard, slice_.seal, mark):
                raise AbortableError("the ledger was re-sealed, or we were replaced", "ledger_mark")
        lane.begun = max(lane.begun, mark.offset)

    def fail(
        self, handled: Handled, record: Record, raw: bytes | None, reason: str, error: Exception
    ) -> None:
        """Make a dead letter of a record that was handled in vain, as it came."""
        record.value = raw
        self._letter(handled, self._letters(record, reason, error), record, reason)

    def _reject(
        self, handled: Handled, record: Record, reason: str, error: Exception | None = None
    ) -> None:
        """Make a dead letter of a record that the handler was not given."""
        letter = self._letters(record, reason, error, attempts=record.attempt - 1)
        self._letter(handled, letter, record, reason)

    @staticmethod
    def _letter(handled: Handled, letter: Output, record: Record, reason: str) -> None:
        handled.letters.append(DeadLettered(record.topic, reason, str(record.position)))
        handled.outputs.append(letter)


def _topic(slice_: Slice) -> str:
    return slice_.lane.partition[0]
