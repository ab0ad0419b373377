"""What is done where another tool has set a group's offset back, or the log was cut off."""

from collections.abc import Sequence

from eos.consume.lanes import Lane
from eos.core.errors import AbortableError
from eos.core.frontier import Frontier
from eos.core.ports import Inbox, Suppressed
from eos.core.record import Shard


def move_row(
    inbox: Inbox,
    shard: Shard,
    partition: int,
    settled: int,
    offset: int,
    note: Sequence[Suppressed] = (),
) -> None:
    """Move the frontier elsewhere that a database holds.

    Args:
        inbox: The database.
        shard: The shard.
        partition: The partition.
        settled: Where the frontier is.
        offset: Where it shall be.
        note: What is written into the audit with it.

    Raises:
        AbortableError: It is not where it was: somebody else has taken the partition over.
        RetriableError: The database is away.
    """
    effects = inbox.begin()
    moved = False
    try:
        moved = effects.lock(shard, partition, settled) and effects.advance(
            shard, partition, settled, Frontier(offset)
        )
        if moved and note:
            effects.note(shard, note)
        if moved:
            effects.commit()
    finally:
        if not moved:
            effects.rollback()
    if not moved:
        raise AbortableError(f"partition {partition} was moved on by others", "inbox_fenced")


def reset(lane: Lane, offset: int, settled: int, claimed: int, *, gone: bool) -> str:
    """Say what happened, and what to do.

    Args:
        lane: Where.
        offset: The group's offset.
        settled: Below it all is settled.
        claimed: From there to here some may be.
        gone: Whether the group has no offset any more.
    """
    topic, number = lane.partition
    tool = f"kafka-consumer-groups.sh --reset-offsets --to-offset {settled}"
    what = f"another tool has set the group's offset back to {offset}"
    if gone:
        what = "the group's offset is gone (expired, or deleted)"
    more = f" (some of what stands from there to {claimed} may be)" if claimed > settled else ""
    return (
        f"{topic}[{number}]: {what}, and all below {settled} is settled{more}. Stop the workers; "
        f"then, to handle it again, `eos replay {lane.shard.group} {topic} --partitions {number} "
        f"--from {offset} --reason …`; to go on where it was, `{tool} --topic {topic}:{number} …`"
    )


def cut_off(lane: Lane, end: int) -> str:
    """Say that a log ends before the frontier, and what to do.

    Args:
        lane: Where.
        end: Where the log ends.
    """
    topic, number = lane.partition
    group = lane.shard.group
    return (
        f"{topic}[{number}]: the log was cut off. All below {lane.frontier} is settled, and what "
        f"stood there from about {min(end, lane.frontier)} on is gone: a leader that lacked it was "
        "elected (unclean.leader.election.enable). Those offsets are given to new records. Stop "
        f"the workers; then, to handle these, `eos replay {group} {topic} --partitions {number} "
        "--from OFFSET --reason …` with the first offset of a new record"
    )
