"""A recovery that several workers share, by partition."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from eos.core.errors import RetriableError
from eos.core.ports import Assertion, Audited, Ledger, Log, Recovery
from eos.core.record import Shard
from eos.operate.rereading import Reading, Rereader

LEASE_SECONDS = 5.0


class End(Enum):
    """How a worker's share of a recovery ended."""

    OPENED = "it has opened the shard"
    OPEN = "somebody else has"
    BUSY = "others are still at their partitions"


class Sharing:
    """Takes part in the recovery of a shard that is closed.

    Each worker takes partition after partition that nobody else has, under a lease that it prolongs
    with every batch, and whoever finds all of them done opens the shard. What a dead one leaves is
    taken up once its lease has run out, from where it was: the ledger was told.

    All of them put back the same. Frontiers are read after the recovery began, and so while the
    shard is closed: nothing is settled any more but what had confirmed before, and stable reads, or
    the locks on the rows, wait for that. The name of the recovery tells it from a later one: who
    has read frontiers for an earlier one can put nothing back.

    Args:
        ledger: What is rebuilt.
        log: What it is rebuilt from; made when first needed.
        rereader: Says what is to be read again, and what is to be put back.
        token: Names this worker.
        stay: Keeps it in its group meanwhile.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: Callable[[], Log],
        rereader: Rereader,
        token: str,
        stay: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._rereader = rereader
        self._token = token
        self._stay = stay

    def __call__(
        self, shard: Shard, topic: str, count: int, begins: Mapping[int, int]
    ) -> tuple[int, End]:
        """Take part.

        Args:
            shard: The shard.
            topic: The topic's name.
            count: How many partitions it has.
            begins: Where the group begins in partitions that it had settled nothing of.

        Returns:
            How many records were read again here, and how it ended.

        Raises:
            RetriableError: The recovery was lost, or a server is away.
        """
        # First: what is read of Kafka must be of a time at which this very recovery was under way.
        first = self._leased(shard, topic, range(count))
        if first.sealed:
            return 0, End.OPEN
        if first.partition is None and not first.done.issuperset(range(count)):
            return 0, End.BUSY
        log = self._log()
        try:
            reading = self._rereader.plan(shard, first, log, topic, begins)
            records, last = self._shared(log, reading, first, count)
        finally:
            log.close()
        if last.sealed:
            return records, End.OPEN
        if not last.done.issuperset(range(count)):
            return records, End.BUSY
        untouched = {p: at for p, at in begins.items() if p not in reading.frontiers}
        if not self._ledger.open(shard, first, untouched, _begun(reading, last), count):
            raise overtaken(topic)
        return records, End.OPENED

    def _shared(
        self, log: Log, reading: Reading, first: Recovery, count: int
    ) -> tuple[int, Recovery]:
        """Put partition after partition back, until none is left that nobody has.

        Returns:
            How many records there were, and how the recovery stands.
        """
        shard, topic, records = reading.shard, reading.topic, 0
        held, tell = first.partition, self._rereader.teller(topic)
        # The largest first: then all are done at about the same time.
        order = sorted(range(count), key=lambda p: (p != held, -len(reading.ranges.get(p, ()))))

        def alive() -> None:
            self._leased(shard, topic, order[:1])
            self._stay()

        audited = self._rereader.audited(log, reading, alive)
        while True:
            found = self._leased(shard, topic, order)
            if found.sealed:
                return records, found
            if found.identity != first.identity:
                raise overtaken(topic)
            if found.partition is None:
                return records, found
            facts = audited.get(found.partition, Audited())
            records += self._put_back(log, reading, found, found.partition, facts, tell)

    def _put_back(
        self,
        log: Log,
        reading: Reading,
        held: Recovery,
        partition: int,
        audited: Audited,
        tell: Callable[[int], None],
    ) -> int:
        """Put a partition back, as far as it stays ours; give how many records there were."""
        records, topic = 0, reading.topic
        for messages in log.read(topic, partition, reading.rest(partition, reading.known(held))):
            now = self._leased(reading.shard, topic, [partition])
            self._stay()
            if (now.identity, now.partition) != (held.identity, partition):
                return records  # somebody else has it by now, or all is over
            tell(reading.left(now.done, reading.known(now)))
            records += len(messages)
            for each in self._rereader.assertions(reading, partition, messages, audited):
                self._put(held, each, reading)
        self._put(held, reading.end_of(partition, audited), reading)
        return records

    def _put(self, recovery: Recovery, assertion: Assertion, reading: Reading) -> None:
        if not self._ledger.reassert(reading.shard, recovery, assertion):
            raise overtaken(reading.topic)

    def _leased(self, shard: Shard, topic: str, wanted: Sequence[int]) -> Recovery:
        found = self._ledger.lock(shard, self._token, LEASE_SECONDS, wanted)
        if found is None:
            raise busy(topic)
        return found


def _begun(reading: Reading, last: Recovery) -> dict[int, int]:
    """Plain tier: give how far records may have been handled, as whoever opens the shard says it.

    Somebody else may have read a later end of the log, and put owners back up to there, before he
    put back what was handled: none of those may go for a fact. What was put back is claimed.
    """
    if reading.settled:
        return {}
    put_back = {p for p, end in last.claimed.items() if end > reading.frontiers.get(p, 0)}
    return {
        p: max(reading.begun.get(p, 0), last.claimed.get(p, 0)) for p in put_back | {*reading.begun}
    }


def busy(topic: str) -> RetriableError:
    """Say that the ledger has to be waited for."""
    return RetriableError(f"another worker recovers the ledger of {topic}", "recovery")


def overtaken(topic: str) -> RetriableError:
    """Say that what was put back may be lost, or somebody else is at it by now."""
    return RetriableError(f"the recovery of {topic} was overtaken", "recovery")
