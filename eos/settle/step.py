"""Settles what was handled: begin, produce, send offsets, confirm, commit.

The order is the promise (`_begin`, `_commit`). No handler runs inside the transaction of its own
records. The ledger is asked once more after the offsets were sent: a seal that changed since the
claim means that claims may have been lost, and that somebody else may have handled a copy.

A transaction ends beside the line, while the next records are read, claimed and handled;
one at a time. Its outcome is collected by the line, in the line's thread.

With a coordinator away, `send_offsets_to_transaction` of librdkafka waits for it, whatever its
time-out. By then the broker gives the transaction up anyway, so the line does, too:

1. The thread beside the line hangs before the commit (`Batch.ending` is False).
2. The line marks the batch as given up, has a new producer made under the same id, which fences
   the old one, and goes on with a new thread.
3. The old call comes back some day. Its thread finds the batch given up, and touches nothing.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field

from eos.claim.step import Claim, Seals
from eos.consume import Consume, Slice
from eos.core.audit import write
from eos.core.errors import AbortableError, HungError, RetriableError
from eos.core.events import Aborted, Committed, Committing, Emit
from eos.core.frontier import Frontier
from eos.core.ports import Clock, Partition, Transactions
from eos.handle.handled import Handled
from eos.settle.inbox import Inboxes
from eos.settle.plain import Plain

PATIENCE_SECONDS = 60.0
OVERDUE_SECONDS = 15.0
_SOON_SECONDS = 3.0

Told = Callable[[Sequence[Handled]], None]
"""Told what a transaction settled."""


@dataclass(slots=True)
class Batch:
    """What one transaction settles.

    Attributes:
        handled: Slices that went through the handler, in the order of reading.
        membership: The group membership under which the first of them was read.
        due: When it is to be settled, monotonic seconds.
        seals: The seals under which its claims were made.
        began: When its transaction was begun, monotonic seconds.
        ending: Whether its commit or abort has begun: then it is not given up any more.
        given_up: Whether it was given up.
    """

    membership: object
    due: float
    handled: list[Handled] = field(default_factory=list)
    seals: Seals = field(default_factory=dict)
    began: float = 0.0
    ending: bool = False
    given_up: bool = False

    @property
    def records(self) -> int:
        """How many records were read for it, the suppressed ones included."""
        return sum(handled.slice.read for handled in self.handled)

    @property
    def outputs(self) -> int:
        """How many messages it publishes."""
        return sum(len(handled.outputs) for handled in self.handled)

    @property
    def ends(self) -> dict[Partition, Frontier]:
        """The frontier of each partition once it is settled."""
        return {h.slice.lane.partition: h.slice.frontier for h in self.handled}


class Settle:
    """The fourth step of the line.

    Args:
        transactions: The transactional producer; used by one transaction at a time.
        plain: Settles what needs no transaction.
        inboxes: Settles what has its effect in a database.
        consume: Whose frontiers are moved on.
        claim: Sees that the seals of the claims still hold.
        audit: The topic in which it is written what was suppressed.
        beside: Makes what transactions are committed in.
        interval: At most this many seconds are handled before they are settled.
        limit: At most this many records.
        emit: Told of outcomes, in the line's thread.
        clock: Tells the time.
        patience: How many seconds the end of a transaction is waited for, beyond all the
            time-outs of its calls.
        overdue: After how many seconds one is given up that is not being committed yet; longer
            than the broker leaves a transaction open.
        told: Told what each transaction settled, in the line's thread.
    """

    def __init__(
        self,
        *,
        transactions: Transactions,
        plain: Plain,
        inboxes: Inboxes,
        consume: Consume,
        claim: Claim,
        audit: str,
        beside: Callable[[], Executor],
        interval: float,
        limit: int,
        emit: Emit,
        clock: Clock = time,
        patience: float = PATIENCE_SECONDS,
        overdue: float = OVERDUE_SECONDS,
        told: Told = lambda _: None,
    ) -> None:
        self._told = told
        self._patience, self._overdue = patience, overdue
        self._transactions = transactions
        self._plain = plain
        self._inboxes = inboxes
        self._consume = consume
        self._claim = claim
        self._audit = audit
        self._beside, self._executor = beside, beside()
        self._deciding = threading.Lock()  # whether a batch ends, or is given up
        self._interval = interval
        self._limit = limit
        self._emit = emit
        self._clock = clock
        self._pending: Batch | None = None
        self._committing: tuple[Batch, Future[bool]] | None = None
        self._settled: dict[Partition, Slice] = {}
        self._failed = 0
        self._hung = False

    def prepare(self) -> None:
        """End what a predecessor left open, before anybody waits for it."""
        self._transactions.prepare()

    def __call__(self, handled: list[Handled]) -> bool:
        """Take what was handled, begin to settle if it is time, and collect what is settled.

        Returns:
            True if something was settled, or a transaction found committed.

        Raises:
            AbortableError: One was not: rewind.
            RetriableError: A server is away: rewind, and wait.
            FencedError: Another process has this transactional id.
            HungError: The Kafka client does not come back: this process must be replaced.
        """
        inside = [each for each in handled if each.effects is not None]
        self._inboxes(inside)
        handled = [each for each in handled if each.effects is None]
        if effects := [each.slice for each in handled if self._is_plain(each)]:
            self._plain.settle(effects)
        if outputs := [each for each in handled if not self._is_plain(each)]:
            pending = self._pending
            if pending is None:
                due = self._clock.monotonic() + self._interval
                pending = self._pending = Batch(self._consume.membership, due)
            pending.handled += outputs
        self._plain.commit_if_due()
        settled = bool(inside or effects)
        if self._is_due():
            settled |= self._collect()  # one at a time
            self._begin()
        elif self._is_over():
            settled |= self._collect()
        return settled

    def finish(self) -> None:
        """Settle all that was handled, and wait for it. Raises as a call does."""
        self._collect()
        if self._pending:
            self._begin()
            self._collect()
        self._plain.commit(wait=True)
        with suppress(AbortableError, RetriableError):
            # Otherwise with the next claim. A group that stands still is to be told from one whose
            # offsets somebody has set back meanwhile.
            self._plain.tell(list(self._settled.values()))

    def end(self) -> None:
        """Wait for the transaction under way, if there is one. Raises as a call does."""
        self._collect()

    def give_back(self, partitions: Collection[Partition]) -> None:
        """Settle what was handled before partitions are given back, if that can be done soon.

        Called from within a poll, in a callback of the client: what fails shows to the line as
        a changed assignment, and is rewound.
        """
        with suppress(AbortableError, RetriableError):
            self._plain.commit(wait=True)
        if not any(self._holds(partition) for partition in partitions):
            return  # the membership of what is pending may be old by then: then it is aborted
        with suppress(AbortableError, RetriableError):
            if self._soon() and self._pending:
                self._begin()
            self._soon()

    def drop(self, error: AbortableError | RetriableError) -> AbortableError | RetriableError:
        """Give up what is pending; it will be read again.

        Returns:
            What to act on: the error given, or the graver one of the transaction under way.

        Raises:
            FencedError: Another process has this transactional id.
        """
        try:
            self._collect()
        except (AbortableError, RetriableError) as graver:
            error = graver
        self._transactions.abort()
        with suppress(AbortableError, RetriableError):  # then the next transaction will do it
            # What a tainted producer left open would hold up our own reading of the frontiers.
            self._transactions.prepare()
        given_up = self._failed + (self._pending.records if self._pending else 0)
        cause = error.cause if isinstance(error, AbortableError) else "server_away"
        if given_up or cause != "rebalance":  # one without work is no news
            self._emit(Aborted(cause, given_up, str(error), committing=self._failed > 0))
        self._pending, self._failed = None, 0
        return error

    def close(self) -> None:
        """Give the producer up."""
        self._executor.shutdown()
        if not self._hung:  # or this would hang as well
            self._transactions.close()

    def _is_due(self) -> bool:
        pending = self._pending
        return pending is not None and (
            self._clock.monotonic() >= pending.due or pending.records >= self._limit
        )

    def _is_plain(self, handled: Handled) -> bool:
        """Tell whether it needs no transaction: no outputs, and none pending below it."""
        lane = handled.slice.lane
        return lane.plain and not handled.outputs and not self._holds(lane.partition)

    def _holds(self, partition: Partition) -> bool:
        """Tell whether something of this partition waits for a transaction."""
        batches = [self._pending, self._committing[0] if self._committing else None]
        return any(
            each.slice.lane.partition == partition
            for batch in batches
            if batch is not None
            for each in batch.handled
        )

    def _soon(self) -> bool:
        """Collect the transaction under way, if it ends soon; True if none is left."""
        if self._committing is None:
            return True
        wait([self._committing[1]], _SOON_SECONDS)
        if not self._committing[1].done():
            return False
        self._collect()
        return True

    def _is_over(self) -> bool:
        if self._committing is None:
            return False
        batch, outcome = self._committing
        return outcome.done() or self._left(batch, self._overdue) == 0

    def _left(self, batch: Batch, limit: float) -> float:
        """Give how much longer the end of its transaction is waited for, in seconds."""
        return max(0.0, batch.began + limit - self._clock.monotonic())

    def _begin(self) -> None:
        """Begin to settle what is pending."""
        batch, self._pending = self._pending, None
        if batch is None:
            return
        batch.seals = self._claim.release_seals()
        batch.began = self._clock.monotonic()
        self._consume.unpin()
        self._failed = batch.records  # until nothing below has raised
        for handled in batch.handled:
            slice_ = handled.slice
            if slice_.end < slice_.lane.frontier + (not slice_.attempts):
                raise AbortableError("a frontier must never go back", "transaction")
        self._plain.commits(batch.ends)  # the transaction takes Kafka's offsets over
        self._emit(Committing(batch.records))
        self._transactions.begin()
        for handled in batch.handled:
            for output in handled.outputs:
                self._transactions.produce(*output)
            self._note(handled.slice)
        # What was done so far only filled a queue. What follows waits for servers.
        self._committing = (batch, self._executor.submit(self._commit, batch))

    def _note(self, slice_: Slice) -> None:
        """Have it written down, in the same transaction, what was suppressed: for recovery."""
        if slice_.lane.inbox:
            return  # its database has it
        for each in slice_.suppressed:
            entry = write(slice_.lane.shard, slice_.lane.partition[0], each)
            self._transactions.produce(self._audit, entry, each.digest, [])

    def _commit(self, batch: Batch) -> bool:
        """End the transaction."""
        try:
            self._transactions.send_offsets(batch.ends, batch.membership)
            self._claim.confirm(batch.seals)
            self._end(batch)
            return self._transactions.commit()
        except (AbortableError, RetriableError):
            self._end(batch)
            # At once: the line may be recovering the ledger, and would wait for it to end.
            self._transactions.abort()
            raise

    def _end(self, batch: Batch) -> None:
        """Begin to commit or abort: from here on the line waits."""
        with self._deciding:
            if batch.given_up:
                raise AbortableError("the transaction was given up meanwhile", "transaction")
            batch.ending = True

    def _collect(self) -> bool:
        """Wait for the transaction under way, and move the frontiers on."""
        if self._committing is None:
            return False
        (batch, outcome), self._committing = self._committing, None
        known = self._known(batch, outcome)
        if not known:
            self._resolve(batch.ends)
        self._failed = 0
        for handled in batch.handled:
            slice_ = handled.slice
            lane, end = slice_.lane, slice_.end
            self._consume.settled(slice_)
            self._settled[lane.partition] = Slice(lane, end, end, [], seal=slice_.seal)
        seconds = self._clock.monotonic() - batch.began
        self._emit(
            Committed(
                [handled.slice.tally for handled in batch.handled],
                [letter for handled in batch.handled for letter in handled.letters],
                batch.outputs,
                seconds,
                resolved=not known,
            )
        )
        self._told(batch.handled)
        # Kafka knows the frontiers by now; the ledger is only told.
        self._plain.tell([h.slice for h in batch.handled if h.slice.lane.plain])
        return True

    def _known(self, batch: Batch, outcome: Future[bool]) -> bool:
        """Wait for what became of a transaction; False if nobody can say yet."""
        try:
            return outcome.result(self._left(batch, self._overdue))
        except TimeoutError:
            self._give_up(batch)
        try:
            return outcome.result(self._left(batch, self._patience))
        except TimeoutError as error:
            self._hung = True
            raise HungError(
                f"a transaction did not end within {self._patience:g} s, whatever time-outs its "
                "calls were given: this process must be replaced. Nothing is lost"
            ) from error

    def _give_up(self, batch: Batch) -> None:
        """Go on without the thread that hangs, unless the transaction is being ended."""
        with self._deciding:
            if batch.ending:
                return
            batch.given_up = True
        self._executor.shutdown(wait=False)
        self._executor = self._beside()
        self._transactions.abandon()
        raise RetriableError("the client does not come back from a call: brokers away?", on="kafka")

    def _resolve(self, ends: dict[Partition, Frontier]) -> None:
        """Find out what became of a commit that nobody answered.

        A new producer under the same id makes the outcome final; then the committed offsets,
        which were in the transaction, say what it is.

        Raises:
            AbortableError: It was not committed, or the partitions are somebody else's by now:
                rewind either way, the frontiers in Kafka are the truth.
        """
        self._transactions.settle_unknown()
        try:
            found = self._consume.frontiers(list(ends))
        except RetriableError as error:
            raise AbortableError(f"outcome unknown: {error}", "unknown_outcome") from error
        if found != ends:
            raise AbortableError("the commit did not take place", "unknown_outcome")
