"""Relays share the shards of an outbox: as members of a group, whose partitions the shards are.

The topic of positions has a partition for each shard and holds no records. Its committed offsets
are the shards' positions. So Kafka's own group decides which relay has which shard, notices dead
ones, and keeps the offsets for as long as any relay lives (KIP-211); and each position is fenced
twice, by the group's generation (KIP-447) and by the shard's transactional id.
"""

import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue

from eos.core.errors import AbortableError, ConfigError, RetriableError
from eos.core.events import Emit, Event, ShardClosed, ShardStopped, Waiting
from eos.core.outbox import SHARDS
from eos.core.ports import Outbox, Partition, Reader, Topics
from eos.outbox.counting import Counting
from eos.outbox.shard import ShardLine
from eos.outbox.tender import Tender, is_final, is_taken_over
from eos.retry import Backoff

OVERDUE_SECONDS = 30.0
_POLL_SECONDS = 0.1
_GIVE_BACK_SECONDS = 5.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Relay:
    """One member of the group of relays.

    Args:
        outbox: Whose rows are published.
        namespace: The outbox is relayed under this name, and under no other.
        positions: The topic whose committed offsets are the shards' positions.
        reader: The member of the group.
        topics: Makes that topic.
        line: Makes a shard's line: of its number, what gives the group membership, and whom it
            tells what happens.
        poll: Rows are looked for at least this often, in seconds.
        emit: Told what happens, in the thread that runs the relay.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        namespace: str,
        positions: str,
        reader: Reader,
        topics: Topics,
        line: Callable[[int, Callable[[], object], Emit], ShardLine],
        poll: float,
        emit: Emit,
    ) -> None:
        self._outbox = outbox
        self._namespace = namespace
        self._positions = positions
        self._reader = reader
        self._topics = topics
        self._line = line
        self._poll = poll
        self._emit = emit
        self._told: SimpleQueue[Event] = SimpleQueue()
        self._tenders: dict[int, Tender] = {}
        self._not_before: dict[int, float] = {}  # shards that somebody else has just taken
        self._membership: object = None
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._counting = Counting(outbox.backlog, self._told.put)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Publish until `stopping()`, then finish what was begun.

        Raises:
            ConfigError: The outbox, or the topic of positions, is not as it must be.
            FatalError: Going on could lose or repeat a message; says what to do.
        """
        if not self._prepare(stopping):
            return
        self._reader.subscribe([self._positions], self._give_back)
        self._counting.start()
        try:
            while not stopping():
                self._turn()
        finally:
            self._stop(list(self._tenders))
            self._reader.close()
            self._counting.stop()
            self._tell()

    def _prepare(self, stopping: Callable[[], bool]) -> bool:
        """See that all is there, and wait for servers that are away; False if stopped meanwhile."""
        failures = 0
        while not stopping():
            try:
                self._outbox.check()
                self._outbox.take(self._namespace)
                self._topics.ensure([self._positions], SHARDS)
                _, partitions = self._topics.describe(self._positions)
            except RetriableError as error:
                failures += 1
                seconds = self._backoff.seconds(failures)
                self._emit(Waiting(error.on, seconds, str(error)))
                time.sleep(seconds)
                continue
            if partitions < SHARDS:
                fault = (
                    f"topic {self._positions!r} has {partitions} partitions: give it {SHARDS}, one "
                    "for each shard of the outbox"
                )
                raise ConfigError([fault])
            return True
        return False

    def _turn(self) -> None:
        """Follow the group, and look after the shards that are ours."""
        try:
            self._reader.poll(1, _POLL_SECONDS)
            ours = {shard for _, shard in self._reader.assigned() if shard < SHARDS}
            if ours:
                self._membership = self._reader.group_metadata()
        except RetriableError as error:
            self._emit(Waiting(error.on, _POLL_SECONDS, str(error)))
            return
        except AbortableError:  # not a member any more: the next poll tells what is ours then
            return
        self._stop([shard for shard in self._tenders if shard not in ours])
        self._look_after()
        for shard in ours - self._tenders.keys():
            if time.monotonic() >= self._not_before.get(shard, 0.0):
                self._start(shard)
        self._counting.want(0 in self._tenders)
        self._tell()

    def _start(self, shard: int) -> None:
        def line() -> ShardLine:
            return self._line(shard, lambda: self._membership, self._told.put)

        self._tenders[shard] = Tender(shard, line, self._poll, self._told.put)

    def _look_after(self) -> None:
        """Find out what became of those that ended, and let go of those that hang."""
        for shard, tender in list(self._tenders.items()):
            if tender.is_overdue(OVERDUE_SECONDS) and not tender.ended():
                tender.abandon()
                del self._tenders[shard]
                detail = "the client does not come back from a call: brokers away?"
                self._emit(ShardStopped(shard, "server_away", detail))
            elif tender.ended():
                del self._tenders[shard]
                self._not_before[shard] = time.monotonic() + _LONGEST_PAUSE
                if is_taken_over(tender.failure):
                    self._emit(ShardStopped(shard, "fenced", str(tender.failure)))
                elif is_final(tender.failure) and tender.failure is not None:
                    raise tender.failure

    def _give_back(self, partitions: Collection[Partition]) -> None:
        """Finish turns before shards are given back. Called in a callback of the client."""
        self._stop([shard for _, shard in partitions if shard in self._tenders])

    def _stop(self, shards: Collection[int]) -> None:
        """Stop tending shards, and wait a while for turns to end; what does not is fenced."""
        going = [self._tenders.pop(shard) for shard in shards]
        for tender in going:
            tender.stop()
        until = time.monotonic() + _GIVE_BACK_SECONDS
        for tender in going:
            if not tender.ended(max(0.0, until - time.monotonic())):
                tender.abandon()
            self._told.put(ShardClosed(tender.number))

    def _tell(self) -> None:
        """Tell, in this thread, what happened in those of the shards."""
        while True:
            try:
                self._emit(self._told.get_nowait())
            except Empty:
                return
