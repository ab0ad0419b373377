"""Reads the audit topic."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from eos.core.audit import read
from eos.core.ports import Audited, Log, Suppressed, Topics
from eos.core.record import Shard
from eos.core.rules import Verdict

SKEW_SECONDS = 3600
"""By so much a producer's clock may be ahead of the brokers'."""


def audited(
    log: Log,
    topics: Topics,
    audit: str,
    shard: Shard,
    ranges: Mapping[int, range],
    since: int,
    alive: Callable[[], None],
    replayed: Mapping[int, range] = MappingProxyType({}),
) -> dict[int, Audited]:
    """Find which positions own no key, though they are settled.

    To the end that the audit has now, and not only as far as it is stable: whatever stands behind
    another group's open transaction is waited for. The frontiers must have been read before: what
    is settled up to there stands in the audit by then, for both are one transaction.

    Args:
        log: Reads the topic.
        topics: Tells where it ends.
        audit: The topic's name.
        shard: Whose positions.
        ranges: The positions asked about, by partition.
        since: They are no older than this log time, in seconds.
        alive: Called now and then: it may take longer than a lock is held.
        replayed: Those of the positions that are handled again, by partition.

    Returns:
        Which of them own no key, by partition.

    Raises:
        RetriableError: An open transaction is in the way, or the brokers are away.
    """
    found = {p: Audited(replayed=replayed.get(p, range(0))) for p in ranges}
    if not any(ranges.values()):
        return found
    for told in entries(log, topics, audit, shard, since - SKEW_SECONDS, alive):
        offsets = ranges.get(told.partition, range(0))
        gap = told.verdict is Verdict.SETTLED
        if told.offset in offsets or (gap and told.partition in found):
            found[told.partition].add(told)
    return found


def entries(
    log: Log,
    topics: Topics,
    audit: str,
    shard: Shard,
    since: int,
    alive: Callable[[], None],
) -> Iterator[Suppressed]:
    """Read what the audit has of a shard and was written since then, to the end it has now.

    The arguments are those of `audited`, and so is what it raises.
    """
    starts = log.window_starts(audit, max(since, 0))
    ends = topics.ends([(audit, partition) for partition in starts])
    for (_, number), end in ends.items():
        for messages in log.read(audit, number, range(starts[number], end), to_end=True):
            alive()
            for message in messages:
                entry = read(message.value())
                if entry and (entry.group, entry.topic_id) == (shard.group, shard.topic_id):
                    yield entry.suppressed
