"""What both loops do with an order: charge it. The charge says which record it is for."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Charge:
    """An effect, as it stands in the output topic.

    Attributes:
        order: The order's id.
        partition: Where the record stood that it is for.
        offset: Likewise.
    """

    order: str
    partition: int
    offset: int


def charge(order: bytes, partition: int, offset: int) -> bytes:
    """Charge an order."""
    fields = json.loads(order)
    return json.dumps(
        {"order": fields["order"], "cents": fields["cents"], "record": [partition, offset]}
    ).encode()


def read(value: bytes) -> Charge:
    """Read a charge back."""
    fields = json.loads(value)
    return Charge(fields["order"], *fields["record"])
