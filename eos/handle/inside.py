"""Calls handlers inside a database transaction, which moves the frontiers on with their effects.

First all of a batch, without savepoints. If anything raises, what handlers did is undone, and done
again with a savepoint for each record, so that the one that fails is alone in being tried again or
given up.

Where the ledger is the same database, claims join the transaction: they are made here, once the
rows are locked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from eos.consume.lanes import Lane, Slice
from eos.core.errors import AbortableError, FatalError
from eos.core.frontier import Frontier
from eos.core.ports import Effects, Inbox
from eos.core.record import Record
from eos.handle.handled import Given, Handled
from eos.handle.steps import Step
from eos.handle.tries import Tries


class Around(Protocol):
    """What is done with a slice around the calls of its handler."""

    def decoded(self, step: Step, handled: Handled) -> Iterable[Given]:
        """Give what the handler gets."""

    def fail(
        self, handled: Handled, record: Record, raw: bytes | None, reason: str, error: Exception
    ) -> None:
        """Make a dead letter of a record that was handled in vain."""

    def leave(self, handled: Handled, record: Record) -> None:
        """Handle no more of a lane that was given away."""

    def finish(self, handled: Handled) -> None:
        """Make dead letters of what the handler was not given."""


@dataclass(slots=True)
class _Work:
    handled: Handled
    given: Sequence[Given]


class Inside:
    """Handles slices whose frontiers are rows in a database.

    Args:
        inboxes: The databases, by source topic.
        claim: Claims in a transaction, and leaves in each slice what is to be handled.
        tries: Decides whether a record that failed is tried again.
        around: What is the same in all tiers.
        holds: Tells whether a lane is still ours.
    """

    def __init__(
        self,
        inboxes: Mapping[str, Inbox],
        claim: Callable[[Effects, list[Slice]], None],
        tries: Tries,
        around: Around,
        holds: Callable[[Lane], bool],
    ) -> None:
        self._inboxes = inboxes
        self._claim = claim
        self._tries = tries
        self._around = around
        self._holds = holds

    def __call__(self, step: Step, slices: Sequence[Slice]) -> list[Handled]:
        """Handle slices in one transaction, which is left open: settling commits it.

        Raises:
            AbortableError: Somebody else has moved a frontier, or the database gave up.
            RetriableError: The database is away.
            FatalError: The handler ended the transaction by itself, or returned something.
            Exception: One that the step calls fatal.
        """
        inbox = self._inboxes[step.source]
        # In one order everywhere: a zombie and its successor may lock the same rows.
        slices = sorted(slices, key=lambda each: each.lane.partition)
        effects = inbox.begin()
        with _undone(effects):
            self._lock(effects, slices)
            if inbox.joins:
                self._claim(effects, slices)
            batch = self._handled(step, effects, slices)
            self._advance(effects, batch)
        for handled in batch:
            self._around.finish(handled)
            handled.effects = effects
        return batch

    def _handled(self, step: Step, effects: Effects, slices: Sequence[Slice]) -> list[Handled]:
        batch = [Handled(slice_) for slice_ in slices]
        work = [_Work(each, list(self._around.decoded(step, each))) for each in batch]
        effects.guard()
        try:
            for each in work:
                self._at_once(step, effects, [record for record, _ in each.given])
            effects.check()
        except (AbortableError, FatalError):
            raise
        except step.fatal:
            raise
        except Exception as error:  # noqa: BLE001 the user's code may raise anything
            effects.undo(error)
            for each in work:
                self._one_by_one(step, effects, each)
            effects.check()
        return batch

    def _at_once(self, step: Step, effects: Effects, records: list[Record]) -> None:
        if not step.batch:
            for record in records:
                _nothing(step, step.handler(record, effects.db))
        elif records:
            _nothing(step, step.handler(records, effects.db))

    def _one_by_one(self, step: Step, effects: Effects, work: _Work) -> None:
        handled, lane, first = work.handled, work.handled.slice.lane, work.handled.slice.start
        for record, raw in work.given:
            if record.offset > first and not self._holds(lane):
                self._around.leave(handled, record)
                return
            try:
                with effects.savepoint():
                    given: Any = [record] if step.batch else record
                    _nothing(step, step.handler(given, effects.db))
            except (AbortableError, FatalError):
                raise
            except step.fatal:
                raise
            except Exception as error:  # noqa: BLE001 the user's code may raise anything
                reason = self._tries.gives_up(step, lane, record, error)
                if not reason:
                    handled.slice = self._tries.again(handled.slice, record, error)
                    return
                self._around.fail(handled, record, raw, reason, error)

    def _lock(self, effects: Effects, slices: Sequence[Slice]) -> None:
        for lane in (slice_.lane for slice_ in slices):
            if not effects.lock(lane.shard, lane.partition[1], lane.frontier):
                raise _moved(lane)

    def _advance(self, effects: Effects, batch: Sequence[Handled]) -> None:
        for slice_ in (handled.slice for handled in batch):
            lane, frontier = slice_.lane, Frontier(slice_.end, slice_.attempts)
            if slice_.suppressed:
                effects.note(lane.shard, slice_.suppressed)
            if not effects.advance(lane.shard, lane.partition[1], lane.frontier, frontier):
                raise _moved(lane)


@contextmanager
def _undone(effects: Effects) -> Iterator[None]:
    """Roll back, if what is done inside raises."""
    try:
        yield
    except BaseException:
        effects.rollback()
        raise


def _moved(lane: Lane) -> AbortableError:
    return AbortableError(f"the frontier of {lane.partition} was moved by others", "inbox_fenced")


def _nothing(step: Step, returned: object) -> None:
    """See that a handler returned nothing: there is nobody to send it."""
    if returned is not None:
        raise FatalError(
            f"step {step.name!r} returned {type(returned).__name__}: what has into= writes to "
            "its database, and returns nothing"
        )
