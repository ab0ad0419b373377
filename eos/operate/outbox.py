"""What an operator does with an outbox: looks, redrives, and says what no relay can know.

A relay stops where database and Kafka do not belong together (`eos.core.outbox.course`). The
operator then says what is true, and the shard goes on from there: see `answer`.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from eos.core.errors import ConfigError, FatalError
from eos.core.outbox import Progress, ShardPosition, course
from eos.core.ports import Backlog, DeadRow, Upkeep

_SHOWN = 10


class Resolution(Enum):
    """What the operator says of a shard that a relay refuses."""

    PUBLISHED = "--published"
    """The recorded batch stands in its topics."""
    NOT_PUBLISHED = "--not-published"
    """It does not."""
    GO_ON = "--go-on"
    """Publish what stands in the outbox, whatever was published before."""


class Status(NamedTuple):
    """What an outbox is like.

    Attributes:
        namespace: Under which it is relayed; None if it never was.
        backlog: What waits.
        shards: What the database knows of each shard.
        dead: The newest dead rows, ten at most.
    """

    namespace: str | None
    backlog: Backlog
    shards: dict[int, Progress]
    dead: Sequence[DeadRow]


class Resolved(NamedTuple):
    """What became of a shard.

    Attributes:
        shard: Which one.
        sent: The batch behind which it goes on.
        waiting: How many rows it publishes next.
    """

    shard: int
    sent: int
    waiting: int


def status(upkeep: Upkeep) -> Status:
    """Look at an outbox.

    Raises:
        ConfigError: The tables are not there.
        RetriableError: The database is away.
    """
    upkeep.check()
    return Status(upkeep.namespace(), upkeep.backlog(), upkeep.shards(), upkeep.dead(_SHOWN))


def answer(
    shard: int, known: Progress, position: ShardPosition | None, said: Resolution
) -> tuple[int, bool] | None:
    """Say where a shard goes on, given what the operator says.

    Args:
        shard: For what is said of it.
        known: What the database knows.
        position: What Kafka knows, or None.
        said: What the operator says.

    Returns:
        The batch behind which it goes on, and whether the recorded batch is published; None if
        there is nothing to resolve.

    Raises:
        ConfigError: What is said does not answer what is asked.
    """
    try:
        course(shard, known, position)
    except FatalError as refusal:
        asked = _asked(known, position)
        if said not in asked:
            fits = " or ".join(each.value for each in asked)
            raise ConfigError([f"{said.value}: {fits} is asked for. {refusal}"]) from refusal
    else:
        return None
    if position is not None:
        return position.number, said is Resolution.PUBLISHED
    return known.sent + (said is Resolution.PUBLISHED), said is Resolution.PUBLISHED


def _asked(known: Progress, position: ShardPosition | None) -> tuple[Resolution, ...]:
    # A position that lies before what is known tells no more of a recorded batch than none does.
    if known.recorded and (position is None or position.number < known.sent):
        return (Resolution.PUBLISHED, Resolution.NOT_PUBLISHED)
    return (Resolution.GO_ON,)


class Resolve:
    """Resolves the shards of an outbox.

    Args:
        upkeep: The outbox.
        fence: Fences whoever has a shard, and ends what it left open.
        position: Reads a shard's position, with a stable read.
    """

    def __init__(
        self,
        upkeep: Upkeep,
        fence: Callable[[int], None],
        position: Callable[[int], ShardPosition | None],
    ) -> None:
        self._upkeep = upkeep
        self._fence = fence
        self._position = position

    def __call__(self, said: Resolution) -> list[Resolved]:
        """Have shards that a relay refuses go on; the others are left as they are.

        First all are looked at, and nothing is changed if what is said does not fit one of them.

        Returns:
            The shards that go on.

        Raises:
            ConfigError: What is said does not answer what is asked.
            AbortableError: A relay has changed a shard meanwhile.
            RetriableError: A server is away.
        """
        known = self._upkeep.shards()
        found = {shard: self._look(shard, said) for shard in known}
        resolved = []
        for shard, given in found.items():
            if given is not None:
                as_seen, (sent, published) = given
                self._upkeep.settle(shard, as_seen, sent, published=published)
                resolved.append(Resolved(shard, sent, self._upkeep.waiting(shard)))
        return resolved

    def _look(self, shard: int, said: Resolution) -> tuple[Progress, tuple[int, bool]] | None:
        """Find out what is to become of a shard, and as what it was seen; None: nothing."""
        known, position = self._upkeep.shards()[shard], self._position(shard)
        if not _is_refused(shard, known, position):
            return None  # and a relay that has it is not disturbed
        # A relay that moves on between two reads looks the same: none does once it is fenced.
        self._fence(shard)
        position, known = self._position(shard), self._upkeep.shards()[shard]
        found = answer(shard, known, position, said)
        return None if found is None else (known, found)


def _is_refused(shard: int, known: Progress, position: ShardPosition | None) -> bool:
    try:
        course(shard, known, position)
    except FatalError:
        return True
    return False
