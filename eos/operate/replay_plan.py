"""What an operator wants handled again, and what that comes to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eos.core.frontier import Frontier, Replay
from eos.core.letters import Place as LetterPlace
from eos.core.record import Shard


class Place(NamedTuple):
    """A place in a log: an offset, or the first record that is as new as a time.

    Attributes:
        offset: The offset; below 0: the time says it.
        time: Seconds since the epoch.
    """

    offset: int
    time: int = 0


class Wanted(NamedTuple):
    """What an operator wants handled again.

    Attributes:
        topic: The topic.
        begin: From here on.
        until: Up to here; None: all that was settled.
        partitions: In these partitions; none: in all.
        keys: Only these idempotency keys; none: all.
        run: Names the replay if its outputs are to have ids of their own; else empty.
    """

    topic: str
    begin: Place
    until: Place | None = None
    partitions: Collection[int] = ()
    keys: Sequence[str] = ()
    run: str = ""


class Span(NamedTuple):
    """What is handled again of one partition.

    Attributes:
        start: The first offset.
        replay: Up to where, and what of it.
        was: The frontier as Kafka has it, with what goes with it.
    """

    start: int
    replay: Replay
    was: Frontier


@dataclass(frozen=True, slots=True)
class Plan:
    """What is handled again.

    Attributes:
        topic: The topic.
        shard: Its shard.
        spans: By partition.
        letters: Dead letters of records that are handled again: they are done with then.
    """

    topic: str
    shard: Shard
    spans: Mapping[int, Span]
    letters: frozenset[LetterPlace] = frozenset()
