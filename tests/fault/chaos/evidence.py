"""What a chaos leaves behind."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Message

from tests.fault.chaos.watch import Place, Sample, place_of

EACH = 3
"""How many messages a handler sends for one record."""

Spot = tuple[int, int]
"""Where a record of the input stands: partition and offset."""


class Sent(NamedTuple):
    """A record of the input."""

    id: str
    key: bytes
    spot: Spot


class Output(NamedTuple):
    """A message that a handler sent.

    Attributes:
        place: Topic, partition and offset.
        id: The idempotency key of the record that it is for.
        key: Its key.
        spot: Where that record stands.
        token: The fencing token under which it was handled.
        number: Which of the messages for that record it is.
    """

    place: tuple[str, int, int]
    id: str
    key: bytes
    spot: Spot
    token: int
    number: int


class Effect(NamedTuple):
    """What took place outside of Kafka."""

    id: str
    partition: int
    offset: int
    token: int
    in_doubt: bool
    at: int

    @property
    def spot(self) -> Spot:
        """Where its record stands."""
        return self.partition, self.offset


@dataclass(frozen=True, slots=True)
class Counts:
    """What the workers counted, over all of them.

    Attributes:
        claimed: Records that got a verdict.
        handled: Settled records that were handled.
        resent: Settled records that were suppressed, as sent again.
        redelivered: Settled records that were suppressed, as settled already.
        settled: Settled records.
        given_back: Claimed records that an abort gave back.
        abandoned: Claimed records that a dead worker held.
        in_flight: Claimed records that a live worker holds.
        outputs: Messages published.
        letters: Dead letters.
        aborted: Transactions that were aborted.
        resolved: Transactions of which the committed offsets told that they were committed.
        recreated: Producers that were replaced.
        recoveries: Ledgers that were rebuilt.
    """

    claimed: int
    handled: int
    resent: int
    redelivered: int
    settled: int
    given_back: int
    abandoned: int
    in_flight: int
    outputs: int
    letters: int
    aborted: int
    resolved: int
    recreated: int
    recoveries: int


@dataclass
class Evidence:
    """What a run leaves behind.

    Attributes:
        inputs: The input, as it stands in the log.
        outputs: The outputs, as read by somebody who reads committed messages only.
        everything: Where each message of the outputs stands, aborted ones included.
        followed: What a reader of committed messages saw meanwhile, in its order.
        samples: What the log looked like meanwhile.
        alive: What the workers had counted when all was settled.
        counts: What they had counted when they had left.
        killed: How many workers were killed.
        batch: How many records a worker claims at once, at most.
        left: How many offsets were not settled or not stable at the end, by partition.
        failure: Why the workers stopped by themselves; None if they drained when asked to.
        effects: Effects outside of Kafka.
    """

    inputs: list[Sent]
    outputs: list[Output]
    everything: list[Output]
    followed: list[tuple[str, int, int]]
    samples: list[Sample]
    alive: Counts
    counts: Counts
    killed: int
    batch: int
    left: dict[Place, int]
    failure: str | None
    effects: list[Effect] = field(default_factory=list)

    @cached_property
    def applied(self) -> dict[Spot, list[Output]]:
        """The outputs, by the record that they are for."""
        found: dict[Spot, list[Output]] = defaultdict(list)
        for output in self.outputs:
            found[output.spot].append(output)
        return found

    @cached_property
    def applied_ids(self) -> set[str]:
        """The ids that had their effect."""
        return {output.id for output in self.outputs}

    @cached_property
    def suppressed(self) -> list[Sent]:
        """The records that had none: as copies."""
        return [sent for sent in self.inputs if sent.spot not in self.applied]

    def dump(self, folder: Path) -> None:
        """Keep it, for a test that failed."""
        kept: dict[str, Sequence[object]] = {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "everything": self.everything,
            "effects": self.effects,
            "samples": [(s.at, s.committed, list(s.ends.items())) for s in self.samples],
        }
        for name, rows in kept.items():
            with (folder / f"{name}.jsonl").open("w") as file:
                file.writelines(f"{json.dumps(row, default=repr)}\n" for row in rows)


def sent_of(message: Message) -> Sent:
    """Read a record of the input."""
    _, partition, offset = place_of(message)
    return Sent((message.value() or b"").decode(), _key(message), (partition, offset))


def output_of(message: Message) -> Output:
    """Read a message of the outputs."""
    headers: Any = message.headers()
    about = {name: value.decode() for name, value in headers}
    partition, offset = about["of"].split("/")
    spot = int(partition), int(offset)
    return Output(
        place=place_of(message),
        id=about["id"],
        key=_key(message),
        spot=spot,
        token=int(about["token"]),
        number=int(about["number"]),
    )


def _key(message: Message) -> bytes:
    key: Any = message.key()
    return bytes(key or b"")


def read_effects(folder: Path) -> list[Effect]:
    """Read what each worker process wrote."""
    return [
        Effect(**json.loads(line))
        for path in sorted(folder.glob("*.effects"))
        for line in path.read_text().splitlines()
    ]
