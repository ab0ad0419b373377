"""Reads the audit topic."""

from collections.abc import Callable, Collection, Mapping

from eos.core.audit import read
from eos.core.ports import Log, Topics
from eos.core.record import Shard

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
) -> dict[int, Collection[int]]:
    """Find which positions were suppressed.

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

    Returns:
        The offsets among them that were suppressed, by partition.

    Raises:
        RetriableError: An open transaction is in the way, or the brokers are away.
    """
    found: dict[int, set[int]] = {partition: set() for partition in ranges}
    if not any(ranges.values()):
        return dict(found)
    starts = log.window_starts(audit, since - SKEW_SECONDS)
    ends = topics.ends([(audit, partition) for partition in starts])
    for (_, number), end in ends.items():
        for messages in log.read(audit, number, range(starts[number], end), to_end=True):
            alive()
            for message in messages:
                entry = read(message.value())
                if entry is None or (entry.group, entry.topic_id) != (shard.group, shard.topic_id):
                    continue
                partition, offset = entry.suppressed[:2]
                if offset in ranges.get(partition, ()):
                    found[partition].add(offset)
    return dict(found)
