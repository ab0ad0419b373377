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
        version: Grows with every change: who changes it names the one he knows.
        sent: The number of the last batch that is known to be published; its rows are gone.
        recorded: The ids of the rows of batch `sent + 1`, in order; none if it is not recorded.
    """

    version: int
    sent: int
    recorded: Sequence[int] = ()


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


def course(shard: int, progress: Progress, position: int | None) -> Course:
    """Say what is to be done when a shard is taken over.

    Args:
        shard: For what is said of it.
        progress: What the database knows.
        position: The number of the last batch that Kafka committed, by a stable read after the
            producers before were fenced; None if it knows of none.

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
    if position == progress.sent:
        return Course.PUBLISH if progress.recorded else Course.RECORD
    if position == progress.sent + 1 and progress.recorded:
        return Course.MARK
    if position > progress.sent:
        raise FatalError(
            f"outbox shard {shard}: Kafka has batch {position}, the database knows of none behind "
            f"{progress.sent + bool(progress.recorded)}: was it restored from a backup? Messages "
            "that were published may stand in it again. Delete those rows, or have them published "
            "again under their old message-id: `eos outbox resolve --go-on`"
        )
    raise FatalError(
        f"outbox shard {shard}: Kafka's position {position} lies before {progress.sent}, which the "
        "database knows to be published: were offsets reset, or is it another cluster? "
        + (
            f"Nobody knows whether batch {progress.sent + 1} was published: look for its messages "
            "in their topics, then run `eos outbox resolve` with --published or --not-published"
            if progress.recorded
            else "To go on behind what the database knows: `eos outbox resolve --go-on`"
        )
    )
