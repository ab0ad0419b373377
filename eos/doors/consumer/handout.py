"""What is below a loop of the user's: reads ahead, claims, hands out, settles.

    poll → hand out ← claim ← consume          (`ahead.py`, one batch ahead)
    the loop comes back, or commits → settle   (`settling.py`)

What cannot go on starts over here: what was not handed out is read again, what was handed out may
still be settled, unless its partition is lost or, with a producer, its transaction is void.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

from eos.build import Loop
from eos.consume import Lane
from eos.core.errors import AbortableError, ConfigError, RetriableError
from eos.core.events import Aborted, Waiting
from eos.core.ports import Mark, Partition
from eos.core.record import Message, Send
from eos.doors.consumer.ahead import Ahead
from eos.doors.consumer.claim import Claim, Claims
from eos.doors.consumer.conf import Conf
from eos.doors.consumer.settling import Settling
from eos.doors.consumer.tape import Tape
from eos.doors.consumer.transaction import Transaction

_ROUND = 0.1  # a rebalance shows only when a read ends
_REMEMBERED = 10_000
_SERVE_SECONDS = 0.5


class Handout:
    """Hands out records, and settles them.

    Args:
        below: The steps.
        conf: What the consumer's configuration says.

    Attributes:
        tape: What is being handed out.
        settling: Settles it.
        due: When the loop must take the long way, monotonic seconds.
    """

    def __init__(self, below: Loop, conf: Conf) -> None:
        self._below = below
        self._consume = below.consume
        self._emit = below.emit
        # Any policy but one needs to know which record began, and not only which batch.
        self._by_record = conf.settings.in_doubt != "retry" and conf.producer is None
        self._asks: Any = conf.settings.in_doubt == "reconcile" and conf.settings.reconcile
        self._transaction: Transaction | None = None
        if below.settle is not None:
            self._transaction = Transaction(below.settle, conf.settings)
        self._claims = Claims(_REMEMBERED, below.identify)
        self._read_at = 0.0
        self.tape = Tape()
        self.settling = Settling(below, conf, self.tape, self._transaction)
        self._ahead = Ahead(below, self.tape, self._claims)
        self._failures = 0
        self._consume.revoking = self.settling.give_back
        self.due = 0.0

    # --- handing out --------------------------------------------------------------------------

    def one(self, seconds: float) -> Message | None:
        """Hand out the next record; None if there is none in time."""
        handed = self.several(1, seconds)
        return handed[0] if handed else None

    def several(self, number: int, seconds: float) -> list[Message]:
        """Hand out up to so many records; fewer if no more came in time."""
        self._come_back()
        if self._by_record:
            number = min(number, 1)  # a mark in the ledger for each: see eos.Settings.in_doubt
        deadline = time.monotonic() + seconds
        while True:
            if self._asks:
                self._ask()
            left = deadline - time.monotonic()
            ready = self.tape.left - self.tape.at
            if (ready >= number or (ready and left <= 0)) and self._begin(min(number, ready)):
                return self._hand_out(min(number, ready))
            # Nothing is handed out before the call returns: should it fail, nothing is lost.
            self._fill(max(0.0, min(left, _ROUND)))
            if left <= 0 and self.tape.at == self.tape.left:
                return []

    def claim(self, message: Message) -> Claim:
        """Tell the claim of a record that was handed out lately."""
        return self._claims(message)

    def produce(self, send: Send, message: Message | None) -> None:
        """Publish with the next commit what comes from a record; default: from the last one."""
        if self._transaction is None:
            raise ConfigError(["produce() needs a producer: eos.Consumer(conf, producer=…)"])
        if message is None and self.settling.last == 1 and self.tape.at:
            message = self.tape.messages[self.tape.at - 1]
        if message is None:
            self._transaction.send(send, None, "")
            return
        source = (_place(message), int(message.offset()))
        self._transaction.send(send, source, self.claim(message).idempotency_key)

    # --- settling -----------------------------------------------------------------------------

    def commit(
        self, wanted: Mapping[Partition, tuple[int, str]] | None, *, wait: bool
    ) -> list[Any] | None:
        """Settle up to these offsets, or all that was handed out."""
        try:
            return self.settling.commit(wanted, wait=wait)
        except (AbortableError, RetriableError) as error:
            self._start_over(error)
            if self._transaction is None:
                raise self._below.as_client_error(error) from error
            return [] if wait else None

    def refuse(self, message: Any) -> None:
        """Commit an error event: the client says what is wrong with that, as it always did."""
        self._below.reader.client.commit(message=message)

    def close(self) -> None:
        """Settle what the loop came back from, and leave the group."""
        try:
            self.settling.close()
        finally:
            self.drop_all()
            self._consume.close()  # the user's on_revoke may still commit
            if self._below.settle is not None:
                self._below.settle.close()
            self._below.ledger.close()

    # --- where to read ------------------------------------------------------------------------

    def check_assignable(self) -> None:
        """See that partitions may be assigned by hand.

        Raises:
            ConfigError: With a producer: offsets without a group generation are not fenced.
        """
        if self._transaction is not None and not self._below.reader.rebalancing:
            raise ConfigError(
                ["assign() with a producer: without a group nothing fences offsets; subscribe()"]
            )

    def seek(self, partition: Partition, offset: int) -> bool:
        """Hand out a partition from elsewhere; False if it is not ours."""
        if partition not in self._below.reader.assigned():
            return False
        if self._consume.lane(partition) is None:
            self._below.reader.starts[partition] = offset
            return True
        lane = self._consume.lanes[partition]
        if offset < lane.frontier:
            self._below.opening.replay(lane, offset)  # first, for the ledger may be away
        again = offset < self.tape.ends().get(partition, lane.handed)
        if self._transaction and again and not self._transaction.drop(partition, offset):
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

    def drop_all(self) -> None:
        """Drop all that was not handed out."""
        self.drop(list(self.tape.unsettled()))

    def flow(self, partitions: Collection[Partition]) -> None:
        """Read partitions on."""
        for partition in partitions:
            self._consume.flow(partition)

    def positions(self) -> dict[Partition, int]:
        """Give where each partition goes on that something was handed out of."""
        found = {p: lane.handed for p, lane in self._consume.lanes.items() if lane.handed}
        return found | {p: end for p, end in self.tape.ends().items() if self.tape.touched(p)}

    # --- behind it ----------------------------------------------------------------------------

    def _come_back(self) -> None:
        try:
            self.settling.come_back()
        except (AbortableError, RetriableError) as error:
            self._start_over(error)
        self._claims.thin(self.tape.left - self.tape.at)
        if self.tape.at < self.tape.left and time.monotonic() - self._read_at > _SERVE_SECONDS:
            # The loop is slow, and much waits on the tape. The group must not wait for it.
            self._fill(0.0, limit=1)
        soon = time.monotonic() + _SERVE_SECONDS
        self.due = -1.0 if self._by_record else min(self.settling.due, soon)

    def _hand_out(self, number: int) -> list[Message]:
        tape = self.tape
        handed = tape.messages[tape.at : tape.at + number]
        tape.at += number
        self.settling.last = number
        if self._transaction is not None:
            self._transaction.void = False
        return handed

    def _fill(self, seconds: float, limit: int = 0) -> None:
        """Put the next batch on the tape."""
        try:
            self.settling.before_claim()
            self._below.window.advance()
            self._read_at = time.monotonic()
            if self._ahead(seconds, limit):
                self._failures = 0
        except (AbortableError, RetriableError) as error:
            self._start_over(error)
        except BaseException:
            # Whatever it was, messages may have been read that nobody will be handed.
            self._keep_place()
            self._consume.rewind(reopen=False)
            raise

    def _ask(self) -> None:
        """Pass over records in doubt that had their effect, as the user's function says."""
        tape = self.tape
        while tape.at < tape.left:
            message = tape.messages[tape.at]
            if message.error() is not None or not self.claim(message).in_doubt:
                return
            try:
                had = self._asks(self._claims.record(message))
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
                lane.marked = end  # it may be written all the same, and is ours then
                self._start_over(error)
                return False
            if not marked:
                self._start_over(AbortableError("the ledger was re-sealed", "ledger_mark"))
                return False
            lane.marked = end
            lane.begun = max(lane.begun, end)
        return True

    # --- starting over ------------------------------------------------------------------------

    def _start_over(self, error: AbortableError | RetriableError) -> None:
        """Drop what was read ahead, and what cannot be settled any more; read on after a pause."""
        if self._transaction is not None:
            error = self._void(self._transaction, error)
        else:
            self._lose(error)
        if isinstance(error, AbortableError) and error.cause in {"rebalance", "seek"}:
            self._consume.rewind(reopen=False)
            return
        self._failures += 1
        calm = isinstance(error, AbortableError) and self._failures == 1
        hold = 0.0 if calm else self._below.backoff.seconds(self._failures)
        if isinstance(error, RetriableError):
            self._emit(Waiting(error.on, hold, str(error)))
        self._consume.rewind(reopen=True, hold=hold)

    def _void(
        self, transaction: Transaction, error: AbortableError | RetriableError
    ) -> AbortableError | RetriableError:
        """With a producer: all that is not committed is handed out again."""
        error = transaction.abort(error)
        self._below.claim.release_seals()
        self.tape.forget(list(self.tape.unsettled()))
        for lane in self._consume.lanes.values():
            lane.handed = 0
        return error

    def _lose(self, error: AbortableError | RetriableError) -> None:
        """Without: what was handed out may still be settled where the partition is still ours."""
        before = self.tape.count()
        self._keep_place()
        assigned = self._below.reader.assigned()
        lost = [
            partition
            for partition, slices in self.tape.unsettled().items()
            if assigned.get(partition) != slices[-1].lane.assignment
        ]
        self.tape.forget(lost)
        self.settling.forget(lost)
        cause = error.cause if isinstance(error, AbortableError) else "server_away"
        left = self.tape.count()
        self._emit(Aborted(cause, before - left, str(error), left=left))

    def _keep_place(self) -> None:
        """Drop what was not handed out, and remember where each lane goes on."""
        self.settling.freeze()
        self.due = 0.0  # until the loop is back, by the long way
        self._stand(self.tape.ends())
        self.tape.drop(list(self.tape.unsettled()))

    def _give_up(self, partitions: Collection[Partition], cause: str) -> None:
        before = self.tape.count()
        self.settling.freeze()
        self.due = 0.0  # until the loop is back, by the long way
        self._stand({p: end for p, end in self.tape.ends().items() if p in partitions})
        self.tape.drop(partitions)
        if (left := self.tape.count()) < before:
            self._emit(Aborted(cause, before - left, left=left))

    def _stand(self, ends: Mapping[Partition, int]) -> None:
        for partition, end in ends.items():
            lane: Lane | None = self._consume.lane(partition)
            if lane is not None:
                lane.handed = max(lane.handed, end)
                lane.next = min(lane.next, end)
                lane.begun = max(lane.begun, end)


def _place(message: Message) -> Partition:
    return message.topic(), message.partition()
