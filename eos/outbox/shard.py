"""The line of one shard: record, publish, mark.

1. One database transaction marks the batch before as published, and records the next one.
2. One Kafka transaction publishes it, and commits its number as the shard's position.

A kill between any two calls leaves one of the cases of `eos.core.outbox.course`. Two lines of one
shard: whoever opens the shard has its transactional id initialised first, which fences the other
one and ends what it left open; only then are position and progress read. What the other one still
writes into the database changes the version, and is seen.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from eos.core.errors import AbortableError
from eos.core.events import Emit, Published, RowBuried
from eos.core.frontier import Frontier
from eos.core.outbox import Course, Progress, Row, ShardPosition, course
from eos.core.ports import Clock, Partition, Rows, Topics, Transactions
from eos.handle.letters import Output, size_of

UNFIT_TOPIC = "unknown_topic"
UNFIT_SIZE = "too_large"
UNFIT_REJECTED = "rejected"


class ShardLine:
    """One shard of an outbox. Belongs to one thread.

    Args:
        number: The shard's number.
        rows: Its rows.
        transactions: A producer under the shard's own transactional id.
        position: Reads what Kafka knows of the shard, with a stable read.
        membership: Gives the membership that fences the position.
        at: The partition whose committed offset is the position.
        topics: Tells which topics are there.
        limit: How many rows a batch has at most.
        max_bytes: How large a message may be.
        emit: Told of outcomes.
        clock: Tells the time.
    """

    def __init__(
        self,
        number: int,
        *,
        rows: Rows,
        transactions: Transactions,
        position: Callable[[], ShardPosition | None],
        membership: Callable[[], object],
        at: Partition,
        topics: Topics,
        limit: int,
        max_bytes: int,
        emit: Emit,
        clock: Clock = time,
    ) -> None:
        self._number = number
        self._rows = rows
        self._transactions = transactions
        self._position = position
        self._membership = membership
        self._at = at
        self._topics = topics
        self._limit = limit
        self._max_bytes = max_bytes
        self._emit = emit
        self._clock = clock
        self._known = Progress(0, 0)
        self._published = False
        self._there: set[str] = set()
        self._calls_since: float | None = None

    def seconds_in_kafka(self) -> float:
        """Tell how long a call into Kafka has been under way; 0 if none is. For any thread."""
        since = self._calls_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def open(self) -> None:
        """Fence whoever had the shard, and find out how far it is.

        Raises:
            AbortableError: Another relay went on meanwhile; the shard is to be opened anew.
            FatalError: Database and Kafka do not belong together; says what to do.
            RetriableError: One of them is away.
        """
        self._there.clear()  # a topic may have been deleted
        with self._calling():
            # Anew each time: one that was fenced and has not noticed would change the version of
            # a batch that its successor is publishing.
            self._transactions.settle_unknown()
        before = self._rows.progress()
        with self._calling():
            position = self._position()
        self._known = self._rows.progress()
        if before.version != self._known.version:
            # The two are of different moments: together they could look like lost offsets.
            raise AbortableError(f"outbox shard {self._number} changes", "outbox_fenced")
        what = course(self._number, self._known, position)
        self._published = what is Course.MARK
        if what is Course.PUBLISH:
            # A new version of the same batch: a predecessor that still lives could otherwise take
            # rows out of it, or bury them, while we publish them.
            self._known = self._rows.narrow(self._known, self._known.recorded)
        if what is Course.BEGIN:
            self._commit(self._known.sent, [])

    def turn(self) -> bool:
        """Mark what is published, and publish the next batch; False if there was none.

        Raises:
            AbortableError: The shard is to be opened anew.
            RetriableError: A server is away; the same.
            FencedError: Another relay has the shard.
        """
        self._known, rows = self._rows.record(self._known, self._limit, published=self._published)
        self._published = False
        if unfit := self._unfit(rows):
            self._bury(unfit)
            return True
        if not rows and not self._known.recorded:
            return False
        try:  # of recorded rows that somebody has deleted, the number alone
            self._commit(self._known.sent + 1, rows)
        except AbortableError as error:
            if error.cause != "rejected":
                raise
            self.abort()
            self._divide(rows, error)
        else:
            self._published = True
        return True

    def abort(self) -> None:
        """Abort what was begun."""
        with self._calling():
            self._transactions.abort()

    def abandon(self) -> None:
        """Let go of a producer that the line's thread hangs in."""
        self._transactions.abandon()

    def close(self) -> None:
        """Give everything up."""
        try:
            self._transactions.close()
        finally:
            self._rows.close()

    def wait(self, seconds: float) -> bool:
        """Wait until a row may have been added; False after a while."""
        return self._rows.wait(seconds)

    def forget(self) -> bool:
        """Delete some published rows that were kept for long enough; whether there may be more."""
        return self._rows.forget()

    @contextmanager
    def _calling(self) -> Iterator[None]:
        self._calls_since = self._clock.monotonic()
        try:
            yield
        finally:
            self._calls_since = None

    def _commit(self, number: int, rows: Sequence[Row]) -> None:
        """Publish a batch and its number together."""
        began = self._clock.monotonic()
        position = ShardPosition(number, self._known.batch)
        frontier = Frontier(number, note=str(position.batch))
        with self._calling():
            self._transactions.begin()
            for row in rows:
                self._transactions.produce(*_output(row))
            self._transactions.send_offsets({self._at: frontier}, self._membership())
            if not self._transactions.commit():
                self._resolve(position)
        if rows:
            now = self._clock.time()
            waited = max(0.0, now - min(row.added for row in rows))
            seconds = self._clock.monotonic() - began
            self._emit(Published(self._number, len(rows), seconds, waited))

    def _resolve(self, position: ShardPosition) -> None:
        """Find out what became of a commit that nobody answered."""
        self._transactions.settle_unknown()
        if self._position() != position:
            raise AbortableError("the commit did not take place", "unknown_outcome")

    def _unfit(self, rows: Sequence[Row]) -> Mapping[int, tuple[str, str]]:
        """Find rows that Kafka will never take; give for each a word and a sentence."""
        asked = {row.topic for row in rows} - self._there
        missing = {topic for topic in asked if not self._topics.exists(topic)}
        self._there |= asked - missing
        found = {}
        for row in rows:
            if row.topic in missing:
                found[row.id] = (UNFIT_TOPIC, f"topic {row.topic!r} does not exist")
            elif (size := size_of(_output(row))) > self._max_bytes:
                reason = f"it has {size} bytes, and message.max.bytes is {self._max_bytes}"
                found[row.id] = (UNFIT_SIZE, reason)
        return found

    def _divide(self, rows: Sequence[Row], error: AbortableError) -> None:
        """Find the row that the brokers do not take, by halves; put it aside when it is alone."""
        self._there.clear()
        if len(rows) == 1:
            self._bury({rows[0].id: (UNFIT_REJECTED, str(error))})
        else:
            half = [row.id for row in rows[: len(rows) // 2]]
            self._known = self._rows.narrow(self._known, half)

    def _bury(self, unfit: Mapping[int, tuple[str, str]]) -> None:
        reasons = {number: sentence for number, (_, sentence) in unfit.items()}
        self._known = self._rows.bury(self._known, reasons)
        for word, sentence in unfit.values():
            self._emit(RowBuried(self._number, word, sentence))


def _output(row: Row) -> Output:
    return Output(row.topic, row.value, row.key, row.headers)
