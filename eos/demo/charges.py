"""What both loops do with an order: charge it. The charge says which record it is for."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Charge:
    """An effect.

    Attributes:
        order: The order's id.
        cents: How much.
        partition: Where the record stood that it is for.
        offset: Likewise.
    """

    order: str
    cents: int
    partition: int
    offset: int

    def to_bytes(self) -> bytes:
        """Write it as it stands in a topic."""
        record = [self.partition, self.offset]
        return json.dumps({"order": self.order, "cents": self.cents, "record": record}).encode()


def charge(order: bytes | None, partition: int | None, offset: int | None) -> Charge:
    """Charge an order."""
    fields = json.loads(order or b"")
    return Charge(fields["order"], fields["cents"], partition or 0, offset or 0)


def read(value: bytes) -> Charge:
    """Read a charge back from a topic."""
    fields = json.loads(value)
    return Charge(fields["order"], fields["cents"], *fields["record"])
