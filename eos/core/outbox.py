"""How a relay knows what it has published: rules without I/O.

Rows leave a shard of the outbox in numbered batches. The database records which rows batch N + 1
has (`Progress`); Kafka holds the number of the last batch that was published, the *position*,
committed in the same transaction as its messages. The two together say what is to be done.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from eos.core.errors import FatalError
from eos.core.frontier import Frontier
from eos.core.record import Headers

SHARDS = 4
"""The order of a key's messages is kept because they share a shard. To change this number, empty
the outbox first."""


def shard_of(key: bytes) -> int:
    """Give the shard of a key."""
    return zlib.crc32(key) % SHARDS


class Row(NamedTuple):
    """A message that waits in the outbox.

    Attributes:
        id: The row's number: in the order in which rows were added, with gaps.
        topic: Where it goes.
        key: Its Kafka key, or None.
        value: Its payload, or None for a tombstone.
        headers: Its headers, with its `message-id`.
        added: When it was added, seconds since the epoch.
    """

    id: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    added: float


@dataclass(frozen=True, slots=True)
class Progress:
    """What the database knows of a shard.

    Attributes:
        version: A random number, another one with every change: who changes something names the
            one he knows.
        sent: The number of the last batch that is known to be published; its rows are gone.
        recorded: The ids of the rows of batch `sent + 1`, in order; none if it is not recorded.
        batch: A random number for just these rows. A relay that was fenced, and has not noticed,
            may still change the version while its successor publishes; the rows stay the same.
    """

    version: int
    sent: int
    recorded: Sequence[int] = ()
    batch: int = 0


class ShardPosition(NamedTuple):
    """What Kafka knows of a shard: the offset that was committed with its last batch.

    Attributes:
        number: The number of that batch.
        batch: The `Progress.batch` that was published: no other database's batch of that number,
            and no other rows.
    """

    number: int
    batch: int


class Course(Enum):
    """What to do with a shard."""

    RECORD = "record"
    """Record the next batch."""
    PUBLISH = "publish"
    """Publish the batch that is recorded."""
    MARK = "mark"
    """Note in the database that the recorded batch is published."""
    BEGIN = "begin"
    """Kafka knows no position, and nothing can be under way: put it there before anything else."""


def course(shard: int, progress: Progress, position: ShardPosition | None) -> Course:
    """Say what is to be done when a shard is taken over.

    Args:
        shard: For what is said of it.
        progress: What the database knows.
        position: What Kafka knows, by a stable read after the producers before were fenced; None
            if it knows of no batch.

    Raises:
        FatalError: The two do not belong together: going on would lose messages, or repeat them.
    """
    if position is None:
        if not progress.recorded:
            return Course.BEGIN
        raise FatalError(
            f"outbox shard {shard}: batch {progress.sent + 1} was about to be published, and Kafka "
            "no longer has the position that says whether it was (another cluster, a deleted "
            "topic, or offsets that expired while no relay ran). Look for its messages in their "
            "topics, then run `eos outbox resolve` with --published or --not-published"
        )
    number, batch = position
    if number == progress.sent:
        return Course.PUBLISH if progress.recorded else Course.RECORD
    if number == progress.sent + 1 and progress.recorded and batch == progress.batch:
        return Course.MARK
    if number > progress.sent:
        raise FatalError(
            f"outbox shard {shard}: Kafka has a batch {number} that the database did not record "
            f"(it knows {progress.sent} to be published): was it restored from a backup, or is a "
            "copy of it relayed, too? Messages that were published may stand in it again. "
            "Delete those rows, or have them published again under their old message-id: "
            "`eos outbox resolve --go-on`"
        )
    raise FatalError(
        f"outbox shard {shard}: Kafka's position {number} lies before {progress.sent}, which the "
        "database knows to be published: were offsets reset, or is it another cluster? "
        + (
            f"Nobody knows whether batch {progress.sent + 1} was published: look for its messages "
            "in their topics, then run `eos outbox resolve` with --published or --not-published"
            if progress.recorded
            else "To go on behind what the database knows: `eos outbox resolve --go-on`"
        )
    )


def position_of(committed: Frontier | None) -> ShardPosition | None:
    """Read a position out of the committed offset and what stands beside it."""
    if committed is None:
        return None
    batch = committed.note
    # What somebody else has set is none of ours.
    return ShardPosition(committed.offset, int(batch) if batch.isdecimal() else -1)
