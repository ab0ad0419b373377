"""What happened in a run, written down where no crash of a worker can lose it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eos.core.events import Event
from eos.core.frontier import Frontier
from eos.core.ports import Claimed, Claims, Ledger, Mark, Partition, Refused
from eos.core.record import Position, Record, Shard
from eos.core.rules import Admission, Verdict
from eos.testing.memory import topic_id_of

_SUPPRESSED = frozenset({Verdict.DUPLICATE, Verdict.SETTLED})


@dataclass(slots=True)
class Notes:
    """What happened in a run.

    Attributes:
        events: All that was told, in order.
        handled: The records that handlers were called with, once for each call.
        verdicts: The last verdict on each position that carries a key.
        handed_out: Which positions went to the handler after that verdict.
        floors: Up to where the ledger knows partitions to be settled.
    """

    events: list[Event] = field(default_factory=list)
    handled: list[Record] = field(default_factory=list)
    verdicts: dict[Position, Verdict] = field(default_factory=dict)
    handed_out: set[Position] = field(default_factory=set)
    floors: dict[tuple[str, int], int] = field(default_factory=dict)

    def hand_out(self, records: Sequence[Record]) -> None:
        """Note that a handler is called with these."""
        self.handled += records
        self.handed_out.update(record.position for record in records)

    def claim(self, topic_id: str, batch: Sequence[Claims], answer: Claimed) -> None:
        """Note the verdicts of a batch."""
        verdicts = iter(answer.verdicts)
        for claims in batch:
            for offset in claims.offsets:
                position = Position(topic_id, claims.partition, offset)
                self.verdicts[position] = next(verdicts)
                self.handed_out.discard(position)

    def settle(self, topic_id: str, marks: Sequence[Mark]) -> None:
        """Note what is settled in the ledger."""
        for mark in marks:
            place = (topic_id, mark.partition)
            self.floors[place] = max(self.floors.get(place, 0), mark.offset)

    def suppressed(self, committed: Mapping[Partition, Frontier]) -> Counter[Verdict]:
        """Count the settled records that were not handed out because they came before.

        Args:
            committed: The group's committed offsets.
        """
        settled = dict(self.floors)
        for (topic, number), frontier in committed.items():
            place = (topic_id_of(topic), number)
            settled[place] = max(settled.get(place, 0), frontier.offset)
        return Counter(
            verdict
            for position, verdict in self.verdicts.items()
            if verdict in _SUPPRESSED
            and position not in self.handed_out
            and position.offset < settled.get(position[:2], 0)
        )


class Witness:
    """Looks like the ledger behind it, and notes what that one says."""

    def __init__(self, ledger: Ledger, notes: Notes) -> None:
        self._ledger = ledger
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records."""
        answer = self._ledger.claim(shard, batch)
        if isinstance(answer, Claimed):
            self._notes.claim(shard.topic_id, batch, answer)
        return answer

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on."""
        admission = self._ledger.settle(shard, seal, marks)
        if admission is Admission.OPEN:
            self._notes.settle(shard.topic_id, marks)
        return admission
