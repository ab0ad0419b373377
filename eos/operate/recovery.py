"""Rebuilds a shard of the ledger from the log.

Owners come back by the order of offsets within a partition. Copies of a key on one partition are
exact, because the first of them settles first. Of copies across partitions, some may have been
suppressed in favour of a record that is still in flight: the audit names them, and they are passed
over. In the plain tier, which has no transaction to write one in, such owners are hearsay.
"""

import time
import uuid
from collections.abc import Callable, Collection, Container, Mapping, Sequence

from eos.claim.keys import Identify
from eos.consume.lanes import record_of
from eos.core.errors import RetriableError
from eos.core.events import Emit, Recovered, Recovering
from eos.core.frontier import Frontier
from eos.core.ports import Assertion, Inbox, Ledger, Log, Recovery, Topics
from eos.core.record import Message, Shard
from eos.core.rules import reread
from eos.operate.audit import audited

LOCK_SECONDS = 15.0
TELL_SECONDS = 2.0


class Recover:
    """Recovers the shard of a topic, unless another worker is at it.

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
        self._identify = identify
        self._plain = plain
        self._inboxes = inboxes
        self._audit = audit
        self._window = window
        self._stay = stay
        self._emit = emit
        self.ending: Callable[[], None] = lambda: None
        # One for all its tries: a worker whose recovery failed goes on under its own lock.
        self._token = uuid.uuid4().hex

    def __call__(self, topic: str, cause: str, begins: Mapping[int, int]) -> int:
        """Recover; when this returns, the shard is open.

        Args:
            topic: The topic's name.
            cause: `closed` or `gap`.
            begins: Where the group begins in partitions that it had settled nothing of: what
                stands below is none of its own, and no record's owner.

        Returns:
            How many records were read again.

        Raises:
            RetriableError: Another worker recovers it, or a server is away.
        """
        # Our own transaction may be open in the audit, and we would wait for it in vain.
        self.ending()
        began = time.monotonic()
        topic_id, _ = self._topics.describe(topic)
        shard = self._shard(topic_id)
        recovery = self._ledger.lock(shard, self._token, LOCK_SECONDS)
        if recovery is None:
            raise RetriableError(f"another worker recovers the ledger of {topic}", "recovery")
        log = self._log()
        try:
            records = self._rebuild(shard, recovery, log, topic, begins)
        finally:
            self._emit(Recovering(topic, 0))
            log.close()
        self._emit(Recovered(topic, cause, records, time.monotonic() - began))
        return records

    def _rebuild(
        self, shard: Shard, recovery: Recovery, log: Log, topic: str, begins: Mapping[int, int]
    ) -> int:
        # Of all partitions, with stable reads: a copy may stand on any of them, and a commit
        # that is under way may yet settle it.
        committed = log.frontiers(topic)
        frontiers = {p: found.offset for p, found in committed.items() if found is not None}
        if inbox := self._inboxes.get(topic):
            # Rows, and not Kafka's offsets. What locks them is waited for: it may yet commit.
            rows = inbox.frontiers(shard, committed)
            frontiers |= {partition: row.offset for partition, row in rows.items()}
        begun = {} if recovery.sealed else self._begun(topic, committed)
        # The ledger may be an old one that was put back: then only what it was told is true.
        known = recovery.claimed if topic in self._plain else recovery.floors
        since = log.log_time(topic, frontiers) - self._window
        starts = log.window_starts(topic, since)
        ranges = {
            p: reread(
                max(known.get(p, 0), begins.get(p, 0)), max(frontier, begun.get(p, 0)), starts[p]
            )
            for p, frontier in frontiers.items()
        }
        records = self._put_back(topic, shard, recovery, log, ranges, since)
        untouched = {p: at for p, at in begins.items() if p not in frontiers}
        if not self._ledger.open(shard, recovery, frontiers | untouched, begun):
            raise _overtaken(topic)
        return records

    def _put_back(
        self,
        topic: str,
        shard: Shard,
        recovery: Recovery,
        log: Log,
        ranges: Mapping[int, range],
        since: int,
    ) -> int:
        """Read again, and put owners back; give how many records there were."""

        def alive() -> None:
            self._hold(shard, recovery)
            self._stay()

        suppressed = self._suppressed(topic, shard, log, ranges, since, alive)
        records, left, told = 0, sum(map(len, ranges.values())), 0.0
        for partition, offsets in ranges.items():
            behind = left - len(offsets)  # once this one is read
            for messages in log.read(topic, partition, offsets):
                if time.monotonic() >= told + TELL_SECONDS:
                    self._emit(Recovering(topic, left))
                    told = time.monotonic()
                alive()
                records += len(messages)
                left = behind + offsets.stop - 1 - (messages[-1].offset() or 0)
                assertion = self._assertion(partition, messages, shard, suppressed[partition])
                assertion.settled = topic not in self._plain
                if not self._ledger.reassert(shard, recovery, assertion):
                    raise _overtaken(topic)
            left = behind
        return records

    def _suppressed(
        self,
        topic: str,
        shard: Shard,
        log: Log,
        ranges: Mapping[int, range],
        since: int,
        alive: Callable[[], None],
    ) -> Mapping[int, Collection[int]]:
        """Give which of the positions the audit has. Read after the frontiers: see `audited`."""
        if inbox := self._inboxes.get(topic):
            return {p: inbox.suppressed(shard, p, r) if r else () for p, r in ranges.items()}
        if topic in self._plain:
            return dict.fromkeys(ranges, ())  # there owners are hearsay, and nothing is suppressed
        return audited(log, self._topics, self._audit, shard, ranges, since, alive)

    def _begun(self, topic: str, committed: Mapping[int, Frontier | None]) -> dict[int, int]:
        """Give how far records may have been handled that are not settled: plain tier.

        Marks that were made under a lost seal are lost. So that is to the end of the log, in each
        partition that was ever begun: where a partition begins is committed before its first
        record is claimed. Owners are put back up to there, too:

        1. A is handled, and the ledger is lost before its frontier is in Kafka.
        2. Another worker recovers up to Kafka's frontier, which is below A.
        3. B, a copy of A that was sent meanwhile, would find no owner, and be handled unflagged.
        """
        if topic not in self._plain:
            return {}
        ours = [p for p, found in committed.items() if found is not None and found.ours]
        ends = self._topics.ends([(topic, partition) for partition in ours]) if ours else {}
        return {partition: end for (_, partition), end in ends.items()}

    def _assertion(
        self,
        partition: int,
        messages: Sequence[Message],
        shard: Shard,
        audited: Container[int],
    ) -> Assertion:
        records = [record_of(message, shard.topic_id) for message in messages]
        assertion = Assertion(partition, records[-1].offset + 1, audited=audited)
        self._identify(records, assertion)
        return assertion

    def _hold(self, shard: Shard, recovery: Recovery) -> None:
        """Hold on to the lock for another while."""
        held = self._ledger.lock(shard, recovery.token, LOCK_SECONDS)
        if held is None or held.identity != recovery.identity:
            raise _overtaken(str(shard))


def _overtaken(what: str) -> RetriableError:
    return RetriableError(f"the recovery of {what} was overtaken", "recovery")
