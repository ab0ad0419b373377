"""Input with copies: records that are sent twice, with the same idempotency key and payload."""

import random
from collections import Counter
from collections.abc import Iterable

from confluent_kafka import Message

from tests.integration.cluster import Input, ids


def with_copies(
    seed: int, distinct: int, *, partitions: int = 2, across: bool = True
) -> list[Input]:
    """Make input in which a third of the records comes again, at another offset.

    Args:
        seed: Printed, so that a failure can be repeated.
        distinct: How many records there are, the copies not counted.
        partitions: Over how many partitions they are spread.
        across: Whether half of the copies stand on another partition.
    """
    print(f"seed {seed}")  # noqa: T201 pytest shows it for a test that failed
    chance = random.Random(seed)
    inputs = [Input(f"id-{n}", chance.randrange(partitions)) for n in range(distinct)]
    for original in list(inputs):
        if chance.random() < 1 / 3:
            move = across and chance.random() < 1 / 2
            partition = (original.partition + 1) % partitions if move else original.partition
            at = chance.randrange(inputs.index(original) + 1, len(inputs) + 1)
            inputs.insert(at, Input(original.id, partition))
    return inputs


def assert_exactly_once(inputs: Iterable[Input], outputs: Iterable[Message]) -> None:
    """See that each distinct record had its effect once: no loss, no duplicate."""
    wanted = {each.id for each in inputs}
    found = Counter(ids(outputs))
    lost = sorted(str(key) for key in wanted - found.keys())
    twice = {key: count for key, count in found.items() if count > 1}
    strange = sorted(found.keys() - wanted)
    assert (lost, twice, strange) == ([], {}, []), f"{lost=} {twice=} {strange=}"
