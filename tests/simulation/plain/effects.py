"""What handlers did."""

from dataclasses import dataclass

from tests.simulation.plain.actor import Passed
from tests.simulation.plain.kafka import Entry


@dataclass(slots=True)
class Effect:
    """A record that was handed to a handler, and its effect.

    Attributes:
        entry: The record.
        turn: When it was handed out.
        in_doubt: Whether it was flagged.
        token: The fencing token that it carried.
        passed: When the ledger let it pass.
        handed_at: When it was handed out.
        replaced_at: When a newer token of the partition was given out; None if none was then.
        happened_at: When the effect took place; None if it did not.
        late: Whether the partition had been taken over by then.
    """

    entry: Entry
    turn: int
    in_doubt: bool
    token: int
    passed: Passed
    handed_at: int
    replaced_at: int | None = None
    happened_at: int | None = None
    late: bool = False

    @property
    def by_zombie(self) -> bool:
        """Whether the partition had been taken over before the record was handed out."""
        return self.replaced_at is not None
