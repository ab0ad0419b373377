"""Rebuilds a shard of the ledger from the log.

Owners come back by the order of offsets within a partition. Copies of a key on one partition are
exact, because the first of them settles first. Of copies across partitions, some may have been
suppressed in favour of a record that is still in flight: the audit names them, and they are passed
over. In the plain tier, which has no transaction to write one in, such owners are hearsay.
"""

import time
import uuid
from collections.abc import Callable, Container, Mapping
from functools import partial

from eos.claim.keys import Identify
from eos.core.events import Emit, Recovered, Recovering
from eos.core.ports import Assertion, Inbox, Ledger, Log, Recovery, Topics
from eos.core.record import Shard
from eos.operate.rereading import Reading, Rereader
from eos.operate.sharing import End, Sharing, busy, overtaken

LOCK_SECONDS = 15.0


class Recover:
    """Recovers the shard of a topic, together with whoever else is at it.

    Args:
        ledger: What is rebuilt.
        log: What it is rebuilt from; made when first needed.
        topics: Describes topics.
        shard: Names the shard of a topic id.
        identify: Reads and digests idempotency keys.
        plain: The topics whose effects lie outside of Kafka.
        inboxes: The databases of those topics whose frontiers are rows.
        audit: The topic in which it is written what was suppressed, where it is no database.
        window: How far back to read, seconds of log time.
        stay: Keeps this worker in its group meanwhile.
        emit: Told of what was done.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: Callable[[], Log],
        topics: Topics,
        shard: Callable[[str], Shard],
        identify: Identify,
        plain: Container[str],
        inboxes: Mapping[str, Inbox],
        audit: str,
        window: int,
        stay: Callable[[], None],
        emit: Emit,
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._topics = topics
        self._shard = shard
        self._inboxes = inboxes
        self._stay = stay
        self._emit = emit
        self.ending: Callable[[], None] = lambda: None
        # One for all its tries: a worker whose recovery failed goes on under its own lock.
        self._token = uuid.uuid4().hex
        self._rereader = Rereader(
            topics=topics,
            identify=identify,
            plain=plain,
            inboxes=inboxes,
            audit=audit,
            window=window,
            emit=emit,
        )
        self._share = Sharing(
            ledger=ledger, log=log, rereader=self._rereader, token=self._token, stay=stay
        )

    def __call__(self, topic: str, cause: str, begins: Mapping[int, int]) -> int:
        """Recover; when this returns, the shard is open.

        A shard that is closed is shared: each of those who see it takes partition after partition
        that nobody else has, and whoever finds all of them done opens it. What a dead one leaves
        is taken up once its lease has run out, from where it was.

        Args:
            topic: The topic's name.
            cause: `closed` or `gap`.
            begins: Where the group begins in partitions that it had settled nothing of: what
                stands below is none of its own, and no record's owner.

        Returns:
            How many records were read again here.

        Raises:
            RetriableError: Other workers are still at it, or a server is away.
        """
        # Our own transaction may be open in the audit, and we would wait for it in vain.
        self.ending()
        began = time.monotonic()
        topic_id, count = self._topics.describe(topic)
        shard = self._shard(topic_id)
        try:
            if cause == "gap":
                records, end = self._alone(shard, topic, begins), End.OPENED
            else:
                records, end = self._share(shard, topic, count, begins)
        finally:
            self._emit(Recovering(topic, 0))
        if records or end is End.OPENED:
            self._emit(Recovered(topic, cause, records, time.monotonic() - began))
        if end is End.BUSY:
            raise busy(topic)
        return records

    def load(self, topic: str, replayed: Mapping[int, range]) -> int:
        """Put owners into an open ledger that has forgotten them, of what is to be handled again.

        So the verdicts are those of the first run, though the records are older than the window.
        Those who own a key now keep it. Raises, and gives, as a call does.
        """
        topic_id, _ = self._topics.describe(topic)
        shard = self._shard(topic_id)
        log = self._log()
        try:
            since = log.log_time(topic, {p: offsets.start for p, offsets in replayed.items()})
            reading = Reading(topic, shard, replayed, since, {}, replayed, settled=False, begun={})
            inbox = self._inboxes.get(topic)
            if inbox is not None and inbox.joins:
                return self._put_back(log, reading, partial(inbox.own, shard), self._stay)
            return self._load(log, reading)
        finally:
            self._emit(Recovering(topic, 0))
            log.close()

    def _load(self, log: Log, reading: Reading) -> int:
        shard, topic = reading.shard, reading.topic
        # Until it is open while the lock is ours: what is lost between the two would stay lost,
        # for to open it again would say that all is there.
        while not (recovery := self._locked(shard, topic)).sealed:
            self(topic, "closed", {})
        records = self._put_back(log, reading, *self._under(shard, recovery, topic))
        if not self._ledger.open(shard, recovery, {}, {}):
            raise overtaken(topic)
        return records

    def _alone(self, shard: Shard, topic: str, begins: Mapping[int, int]) -> int:
        recovery = self._locked(shard, topic)
        log = self._log()
        try:
            reading = self._rereader.plan(shard, recovery, log, topic, begins)
            records = self._put_back(log, reading, *self._under(shard, recovery, topic))
        finally:
            log.close()
        untouched = {p: at for p, at in begins.items() if p not in reading.frontiers}
        if not self._ledger.open(
            shard, recovery, {**reading.frontiers, **untouched}, reading.begun
        ):
            raise overtaken(topic)
        return records

    def _locked(self, shard: Shard, topic: str) -> Recovery:
        recovery = self._ledger.lock(shard, self._token, LOCK_SECONDS)
        if recovery is None:
            raise busy(topic)
        return recovery

    def _under(
        self, shard: Shard, recovery: Recovery, topic: str
    ) -> tuple[Callable[[Assertion], None], Callable[[], None]]:
        """Give what puts owners back, and what holds on to the shard."""

        def put(assertion: Assertion) -> None:
            if not self._ledger.reassert(shard, recovery, assertion):
                raise overtaken(topic)

        def alive() -> None:
            held = self._ledger.lock(shard, recovery.token, LOCK_SECONDS)
            if held is None or held.identity != recovery.identity:
                raise overtaken(topic)
            self._stay()

        return put, alive

    def _put_back(
        self,
        log: Log,
        reading: Reading,
        put: Callable[[Assertion], None],
        alive: Callable[[], None],
    ) -> int:
        """Read all of it again, and put owners back; give how many records there were."""
        found = self._rereader.audited(log, reading, alive)
        records, left = 0, sum(map(len, reading.ranges.values()))
        tell = self._rereader.teller(reading.topic)
        for partition, told_of in found.items():
            if told_of.gaps:
                put(Assertion(partition, 0, gaps=told_of.gaps))
        for partition, offsets in reading.ranges.items():
            behind = left - len(offsets)  # once this one is read
            for messages in log.read(reading.topic, partition, offsets):
                alive()
                tell(left)
                records += len(messages)
                left = behind + offsets.stop - 1 - (messages[-1].offset() or 0)
                for each in self._rereader.assertions(
                    reading, partition, messages, found[partition]
                ):
                    put(each)
            left = behind
        return records
