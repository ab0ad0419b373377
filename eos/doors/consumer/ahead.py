"""Reads and claims a batch ahead of the loop: one call to the ledger for all of it."""

from bisect import bisect_left
from collections.abc import Sequence
from operator import ge

from eos.build import Loop
from eos.consume import Slice
from eos.consume.lanes import epoch_of
from eos.core.errors import AbortableError
from eos.core.events import Aborted
from eos.core.record import Message
from eos.doors.consumer.claim import Claims
from eos.doors.consumer.tape import Tape

Placed = tuple[Slice, list[int]]
"""A slice, and where its records stand among the messages that were read."""


class Ahead:
    """Puts the next batch on the tape.

    Args:
        below: The steps.
        tape: What is handed out.
        claims: Remembers what the ledger said.
    """

    def __init__(self, below: Loop, tape: Tape, claims: Claims) -> None:
        self._below = below
        self._consume = below.consume
        self._tape = tape
        self._claims = claims

    def __call__(self, seconds: float, limit: int = 0) -> bool:
        """Read a batch, if one comes in time, claim it, and put it on the tape.

        Args:
            seconds: How long to wait.
            limit: At most so many records; 0: as many as the loop keeps pace with.

        Returns:
            Whether something was read; all of it may have been suppressed.

        Raises:
            AbortableError: What was read is void.
            RetriableError: A server is away.
        """
        messages = self._consume.read(seconds, limit)
        self._tape.adopt(self._consume.lanes)
        if not messages:
            return False
        batch = self._placed(messages)
        slices = [slice_ for slice_, _ in batch]
        self._below.claim(slices)
        self._claims.remember(slices)
        kept = [(slice_, _kept(slice_, places)) for slice_, places in batch]
        # Where the user jumped ahead and all that stands there is suppressed, nothing was handed
        # out behind the jump: what he skipped shall not be settled because of it.
        idle = [slice_.read for slice_, places in kept if slice_.lane.jumped and not places]
        kept = [placed for placed in kept if placed[1] or not placed[0].lane.jumped]
        for slice_, _ in kept:
            slice_.lane.jumped = False
        self._tape.load(messages, kept)
        if idle:
            self._below.emit(Aborted("seek", sum(idle), left=self._tape.count()))
        return True

    def _placed(self, messages: Sequence[Message]) -> list[Placed]:
        batch = []
        for partition, places, offsets, parts in self._below.stretches(messages):
            lane = self._consume.lane(partition)
            low = 0 if lane is None else max(lane.next, lane.handed)
            start = bisect_left(offsets, low)
            if lane is None or lane.due or start == len(offsets):
                continue
            if any(map(ge, offsets, offsets[1:])):
                raise AbortableError(f"the client jumped back in {partition}", "rebalance")
            if lane.next < lane.pending:
                self._consume.passed(lane, offsets[start:])
            slice_ = Slice(lane, lane.next, offsets[-1] + 1, [], offsets[start:], parts[start:])
            slice_.leader_epoch = epoch_of(parts[-1])
            lane.next = slice_.end
            if not self._below.identify.reads_headers_only:
                slice_.complete()
            batch.append((slice_, places[start:]))
        return batch


def _kept(slice_: Slice, places: list[int]) -> list[int]:
    """Give where those stand that are handed out."""
    if slice_.judged is None:
        return places
    kept = {record.offset for record in slice_.records}
    return [p for p, offset in zip(places, slice_.offsets, strict=True) if offset in kept]
