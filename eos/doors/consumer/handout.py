"""What is below a loop of the user's: reads ahead, claims in one call, hands out, settles.

    poll → hand out ← claim ← consume          (here, a batch ahead)
    the loop comes back, or commits → settle

Nothing is settled ahead: a record counts as handled when the loop comes back for the next one, or
when it is committed, and never because it was handed out.
"""

import time
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from operator import ge
from typing import Any

from eos.build import Loop
from eos.consume import Lane, Slice
from eos.core.errors import AbortableError, ConfigError, EosError, RetriableError
from eos.core.events import Aborted, Waiting
from eos.core.frontier import Frontier
from eos.core.ports import Mark, Partition
from eos.core.record import Message, Send
from eos.core.settings import duration
from eos.doors.consumer.claim import Claim, Claims
from eos.doors.consumer.conf import Conf
from eos.doors.consumer.tape import Tape
from eos.doors.consumer.transaction import Transaction

_ROUND = 1.0
_REMEMBERED = 4


class Handout:
    """Hands out records, and settles them.

    Args:
        below: The steps.
        conf: What the consumer's configuration says.

    Attributes:
        tape: What is being handed out.
        last: How many records of the tape the latest call handed out.
        due: When the loop must take the long way, monotonic seconds.
        transaction: What waits for a commit; None in the plain tier.
    """

    def __init__(self, below: Loop, conf: Conf) -> None:
        self._below = below
        self._consume = below.consume
        self._claim = below.claim
        self._emit = below.emit
        self._auto_commit = conf.auto_commit
        self._auto_store = conf.auto_store
        self._interval = duration(conf.settings.commit_interval)
        # Any policy but one needs to know which record began, and not only which batch.
        self._by_record = conf.settings.in_doubt != "retry" and conf.producer is None
        self._asks: Any = conf.settings.in_doubt == "reconcile" and conf.settings.reconcile
        self.tape = Tape()
        self.last = 0
        self.due = 0.0
        self.transaction: Transaction | None = None
        if below.settle is not None:
            self.transaction = Transaction(below.settle, conf.settings)
        self._kept: dict[Partition, int] | None = None
        self._stored: dict[Partition, int] = {}
        self._claims = Claims(_REMEMBERED)
        self._fills = 0
        self._settle_at = 0.0
        self._failures = 0
        self._consume.revoking = self._give_back
        self._rest()

    # --- handing out --------------------------------------------------------------------------

    def one(self, seconds: float) -> Message | None:
        """Hand out the next record; None if there is none in time."""
        self._come_back()
        handed = self._hand_out(1, seconds)
        return handed[0] if handed else None

    def several(self, number: int, seconds: float) -> list[Message]:
        """Hand out up to so many records; fewer if no more came in time."""
        self._come_back()
        kept, fills = self.tape.ends(), self._fills
        handed = self._hand_out(number, seconds)
        if self._fills > fills:
            # More than one batch: remember what was handed out before this call, and take the
            # long way next time.
            self._kept, self.due = kept, 0.0
        return handed

    def claim(self, message: Message) -> Claim:
        """Tell the claim of a record that was handed out lately."""
        return self._claims(_place(message), int(message.offset()))

    def produce(self, send: Send, message: Message | None) -> None:
        """Publish with the next commit what comes from a record; default: from the last one."""
        if self.transaction is None:
            raise ConfigError(["produce() needs a producer: eos.Consumer(conf, producer=…)"])
        if message is None and self.last == 1 and self._kept is None:
            message = self.tape.messages[self.tape.at - 1]
        if message is None:
            self.transaction.send(send, None, "")
            return
        claim = self.claim(message)
        source = (_place(message), int(message.offset()))
        self.transaction.send(send, source, claim.idempotency_key)

    # --- settling -----------------------------------------------------------------------------

    def commit(
        self, wanted: Mapping[Partition, tuple[int, str]] | None, *, wait: bool
    ) -> list[Any] | None:
        """Settle up to these offsets, or all that was handed out."""
        if wanted is None:
            ends = dict(self._stored) if not self._auto_store else self.tape.ends()
            wanted = {partition: (end, "") for partition, end in ends.items()}
        if self.transaction is not None:
            done = self._commit_transaction({p: end for p, (end, _) in wanted.items()})
            return self._below.reader.told(done) if wait else None
        for partition, (end, _) in wanted.items():
            lane = self._consume.lane(partition)
            if lane is not None and end < lane.frontier:
                lane.handed = max(lane.handed, lane.frontier)  # reading goes on where it is
                self._consume.replay(lane, end)
        self._settle({p: end for p, (end, _) in wanted.items()}, tell=True)
        frontiers = {p: Frontier(end, note=note) for p, (end, note) in wanted.items()}
        self._below.plain.commits(frontiers)
        return self._below.reader.commit_for_user(frontiers, wait=wait)

    def store(self, ends: Mapping[Partition, int]) -> None:
        """Take note of what the user says is handled."""
        self._stored.update(ends)

    def close(self) -> None:
        """Settle what the loop came back from, and leave the group."""
        try:
            if self._auto_commit and self.transaction is None:
                with suppress(AbortableError, RetriableError):
                    self._settle(self._returned(), tell=True)
                    self._below.plain.commit(wait=True)
        finally:
            if self._below.settle is not None:
                self._below.settle.close()
            self._auto_commit = False  # what is given back now was settled, or is not handled
            self._consume.close()
            self._below.ledger.close()

    # --- where to read ------------------------------------------------------------------------

    def seek(self, partition: Partition, offset: int) -> bool:
        """Hand out a partition from elsewhere; False if it is not ours."""
        if partition not in self._below.reader.assigned():
            return False
        lane = self._consume.lane(partition)
        if lane is None:
            self._below.reader.starts[partition] = offset
            return True
        if self.transaction is not None and not self.transaction.drop(partition, offset):
            # Nobody knows which outputs belong to what is handed out again: all of it starts over.
            self._start_over(AbortableError("a seek into what is not committed", "seek"))
            return True
        self._give_up([partition], "seek")
        self.tape.cut(partition, offset)
        self._consume.seek(partition, offset)
        return True

    def drop(self, partitions: Collection[Partition]) -> None:
        """Hand out nothing more of these partitions; what was not handed out is read again."""
        self._give_up(partitions, "pause")

    def flow(self, partitions: Collection[Partition]) -> None:
        """Read partitions on."""
        for partition in partitions:
            self._consume.flow(partition)

    def drop_all(self) -> None:
        """Drop all that was not handed out."""
        self.drop(list(self.tape.unsettled()))

    def positions(self) -> dict[Partition, int]:
        """Give where each partition goes on that something was handed out of."""
        found = {p: lane.handed for p, lane in self._consume.lanes.items() if lane.handed}
        return found | {p: end for p, end in self.tape.ends().items() if self.tape.touched(p)}

    # --- behind it ----------------------------------------------------------------------------

    def _hand_out(self, number: int, seconds: float) -> list[Message]:
        deadline = time.monotonic() + seconds
        handed: list[Message] = []
        tape = self.tape
        while True:
            if self._asks:
                self._ask()
            if tape.at < tape.left:
                step = 1 if self._asks else min(number - len(handed), tape.left - tape.at)
                if self._begin(step):
                    handed += tape.messages[tape.at : tape.at + step]
                    tape.at += step
                    self.last += step
            left = deadline - time.monotonic()
            if len(handed) >= number or (left <= 0 and tape.at < tape.left):
                return handed
            if tape.at >= tape.left:
                self._fill(max(0.0, min(left, _ROUND)))
            if left <= 0 and tape.at >= tape.left:
                return handed

    def _come_back(self) -> None:
        """The loop is back: what it was handed is handled."""
        self.last, self._kept = 0, None
        self.due = self._next_due
        if self._auto_commit and time.monotonic() >= self._settle_at:
            self._rest()
            if self.transaction is not None:
                self._commit_transaction(self._handled())
                return
            with suppress(RetriableError):
                self._settle(self._handled(), tell=True)
            self._below.plain.commit_if_due()

    def _rest(self) -> None:
        """Let the short way be taken until the next time that something is due."""
        self._settle_at = time.monotonic() + self._interval
        self.due = self._next_due

    @property
    def _next_due(self) -> float:
        if self._by_record:
            return -1.0
        return self._settle_at if self._auto_commit else float("inf")

    def _handled(self) -> dict[Partition, int]:
        """Give up to where it is handled, as the loop is back."""
        return self.tape.ends() if self._auto_store else dict(self._stored)

    def _returned(self) -> dict[Partition, int]:
        """Give up to where it is handled, if the loop is not back from the latest call."""
        if not self._auto_store:
            return dict(self._stored)
        if self._kept is not None:
            return self._kept
        return self.tape.ends(self.tape.at - self.last)

    def _settle(self, ends: Mapping[Partition, int], *, tell: bool) -> None:
        slices = self.tape.take(ends)
        for slice_ in slices:
            slice_.lane.handed = max(slice_.lane.handed, slice_.end)
        if slices:
            try:
                self._below.plain.settle(slices, tell=tell)
            except AbortableError as error:
                self._start_over(error)

    def _commit_transaction(self, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """End the transaction; give what was committed, nothing if it was aborted."""
        if self.transaction is None:
            return {}
        self.transaction.check(ends)
        pinned = self._consume.membership
        slices = self.tape.take(ends)
        try:
            self.transaction.commit(slices)
        except (AbortableError, RetriableError) as error:
            self._start_over(error)
            return {}
        if self.tape.unsettled():  # what was read ahead was read under that membership
            self._consume.membership = pinned
        for slice_ in slices:
            slice_.lane.handed = max(slice_.lane.handed, slice_.end)
        return {slice_.lane.partition: slice_.end for slice_ in slices}

    def _fill(self, seconds: float) -> None:
        """Read and claim the next batch; the tape is handed out as a whole."""
        try:
            if self._auto_commit and self.transaction is None and not self.last:
                # The loop is back from all of it. The claim tells the ledger, in the same call.
                self._settle(self._handled(), tell=False)
                self._below.plain.commit_if_due()
                self._rest()
            self._below.window.advance()
            messages = self._consume.read(seconds)
            self.tape.adopt(self._consume.lanes)
            if messages:
                self._load(messages)
                self._fills += 1
                self._failures = self.last = 0
        except (AbortableError, RetriableError) as error:
            self._start_over(error)
        except BaseException:
            # Whatever it was, messages may have been read that nobody will be handed.
            self._keep_place()
            self._consume.rewind(reopen=False)
            raise

    def _load(self, messages: Sequence[Message]) -> None:
        batch = []
        for partition, places, offsets, parts in self._below.stretches(messages):
            lane = self._consume.lane(partition)
            low = 0 if lane is None else max(lane.next, lane.handed)
            start = bisect_left(offsets, low)
            if lane is None or lane.due or start == len(offsets):
                continue
            if any(map(ge, offsets, offsets[1:])):
                raise AbortableError(f"the client jumped back in {partition}", "rebalance")
            slice_ = Slice(lane, lane.next, offsets[-1] + 1, [], offsets[start:], parts[start:])
            lane.next = slice_.end
            if not (self._below.headers_only and self._below.without_headers(slice_.messages)):
                slice_.complete()
            batch.append((slice_, places[start:]))
        self._claim([slice_ for slice_, _ in batch])
        self._reject(batch)
        self._claims.remember([slice_ for slice_, _ in batch])
        self.tape.load(messages, [(slice_, _kept(slice_, places)) for slice_, places in batch])

    def _reject(self, batch: Sequence[tuple[Slice, list[int]]]) -> None:
        for slice_, _ in batch:
            for record, reason in slice_.rejected:
                letter = self._below.letters(record, reason)
                if self.transaction is not None:
                    self.transaction.add(letter, (slice_.lane.partition, record.offset))
                    continue
                self._below.publish(*letter)

    def _ask(self) -> None:
        """Pass over records in doubt that had their effect, as the user's function says."""
        tape = self.tape
        while tape.at < tape.left:
            message = tape.messages[tape.at]
            if message.error() is not None or not self.claim(message).in_doubt:
                return
            try:
                had = self._asks(self._claims.record(_place(message), int(message.offset())))
            except Exception as error:  # noqa: BLE001 the user's code may raise anything
                self._start_over(RetriableError(f"reconcile: {error!r}", on="reconcile"))
                return
            if not had:
                return
            tape.at += 1

    def _begin(self, step: int) -> bool:
        """Note in the ledger what begins with the next records, where that is needed."""
        if not self._by_record:
            return True
        for slice_, end in self.tape.next_ends(step):
            lane = slice_.lane
            if lane.marked >= end:
                continue
            mark = Mark(lane.partition[1], lane.epoch, end)
            try:
                marked = self._below.ledger.begin(lane.shard, slice_.seal, mark)
            except RetriableError as error:
                self._start_over(error)
                return False
            if not marked:
                self._start_over(AbortableError("the ledger was re-sealed", "ledger_mark"))
                return False
            lane.marked = end
            lane.begun = max(lane.begun, end)
        return True

    def _give_back(self, partitions: Collection[Partition]) -> None:
        """Settle what is handled before partitions are given back. Called from within a poll."""
        if not self._auto_commit:
            return
        with suppress(EosError):
            if self.transaction is not None:
                self._commit_transaction(self._returned())
            else:
                ends = {p: end for p, end in self._returned().items() if p in partitions}
                self._settle(ends, tell=True)
                self._below.plain.commit(wait=True)

    def _start_over(self, error: AbortableError | RetriableError) -> None:
        """Drop what was read ahead, and what cannot be settled any more; read on after a pause."""
        before = self.tape.count()
        if self.transaction is not None:
            error = self.transaction.abort(error)
            self._claim.release_seals()
            self.tape.forget(list(self.tape.unsettled()))
            for lane in self._consume.lanes.values():
                lane.handed = 0
        else:
            self._keep_place()
            assigned = self._below.reader.assigned()
            lost = [
                partition
                for partition, slices in self.tape.unsettled().items()
                if assigned.get(partition) != slices[-1].lane.assignment
            ]
            self.tape.forget(lost)
            cause = error.cause if isinstance(error, AbortableError) else "server_away"
            left = self.tape.count()
            self._emit(Aborted(cause, before - left, str(error), left=left))
        if isinstance(error, AbortableError) and error.cause in {"rebalance", "seek"}:
            self._consume.rewind(reopen=False)
            return
        self._failures += 1
        calm = isinstance(error, AbortableError) and self._failures == 1
        hold = 0.0 if calm else self._below.backoff.seconds(self._failures)
        if isinstance(error, RetriableError):
            self._emit(Waiting(error.on, hold))
        self._consume.rewind(reopen=True, hold=hold)

    def _keep_place(self) -> None:
        """Drop what was not handed out, and remember where each lane goes on."""
        ends = self.tape.ends()
        for partition, end in ends.items():
            if (lane := self._consume.lane(partition)) is not None:
                _stand_at(lane, end)
        self.tape.drop(list(ends))

    def _give_up(self, partitions: Collection[Partition], cause: str) -> None:
        before = self.tape.count()
        ends = self.tape.ends()
        for partition in partitions:
            lane = self._consume.lane(partition)
            if lane is not None and partition in ends:
                _stand_at(lane, ends[partition])
        self.tape.drop(partitions)
        if (left := self.tape.count()) < before:
            self._emit(Aborted(cause, before - left, left=left))

    def check_assignable(self) -> None:
        """See that partitions may be assigned by hand.

        Raises:
            ConfigError: With a producer: offsets without a group generation are not fenced.
        """
        if self.transaction is not None and not self._below.reader.rebalancing:
            raise ConfigError(
                ["assign() with a producer: without a group nothing fences offsets; subscribe()"]
            )


def _stand_at(lane: Lane, end: int) -> None:
    lane.handed = max(lane.handed, end)
    lane.next = min(lane.next, end)
    lane.begun = max(lane.begun, end)


def _kept(slice_: Slice, places: list[int]) -> list[int]:
    """Give where those stand that are handed out."""
    if slice_.judged is None:
        return places
    kept = {record.offset for record in slice_.records}
    return [p for p, offset in zip(places, slice_.offsets, strict=True) if offset in kept]


def _place(message: Message) -> Partition:
    return message.topic(), message.partition()
