"""What the handler leaves of a slice."""

from dataclasses import dataclass, field

from eos.consume.lanes import Slice
from eos.core.events import DeadLettered
from eos.core.ports import Effects
from eos.core.record import Record
from eos.handle.letters import Output

Given = tuple[Record, bytes | None]
"""A record as the handler gets it, and the payload that it came with."""


@dataclass(slots=True)
class Handled:
    """A slice that went through the handler: what it wants published, in order.

    Attributes:
        slice: The slice, cut short where a record is to be tried again.
        outputs: What is to be published, dead letters included.
        letters: The dead letters among the outputs.
        undecodable: Records that the handler was not given, and why.
        effects: The database transaction that holds its effects; settling commits it.
    """

    slice: Slice
    outputs: list[Output] = field(default_factory=list)
    letters: list[DeadLettered] = field(default_factory=list)
    undecodable: list[tuple[Record, Exception]] = field(default_factory=list)
    effects: Effects | None = None
