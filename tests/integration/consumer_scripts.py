"""Random scripts of calls on a consumer; `consumer_follower.py` knows what each may give."""

import random
from dataclasses import dataclass
from typing import Any

from tests.integration.cluster import Input

CALLS = {
    "poll": 10,
    "consume": 8,
    "commit": 3,
    "commit_message": 2,
    "commit_offsets": 2,
    "seek": 3,
    "pause": 1,
    "resume": 2,
    "position": 2,
    "store": 3,
    "reopen": 1,
}
Script = list[tuple[str, float, float]]


def random_script(chance: random.Random, length: int) -> Script:
    """Give calls by name, each with two numbers from 0 to 1 that choose its arguments."""
    names = chance.choices(list(CALLS), weights=list(CALLS.values()), k=length)
    return [(name, chance.random(), chance.random()) for name in names]


@dataclass(frozen=True)
class Mode:
    """How a consumer settles.

    Attributes:
        auto_commit: `enable.auto.commit`.
        auto_store: `enable.auto.offset.store`.
    """

    auto_commit: bool
    auto_store: bool

    @property
    def conf(self) -> dict[str, Any]:
        """The part of the configuration."""
        return {
            "enable.auto.commit": self.auto_commit,
            "enable.auto.offset.store": self.auto_store,
            "auto.offset.reset": "earliest",
        }


def copies(chance: random.Random, partitions: int, distinct: int) -> list[Input]:
    """Make records with copies, on the same partition and on others."""
    made = [Input(f"k{n}", chance.randrange(partitions)) for n in range(distinct)]
    for original in list(made):
        if chance.random() < 0.4:
            at = chance.randrange(len(made) + 1)
            made.insert(at, Input(original.id, chance.randrange(partitions)))
    return made
