"""What a worker of the model knows of a partition, and what it reads of it."""

from dataclasses import dataclass, field

from eos.core.ports import Assertion, Claimed, Claims, Known
from eos.core.rules import HANDLED, Verdict, in_doubt
from tests.simulation.plain.kafka import Entry
from tests.simulation.plain.switches import Switches


@dataclass(slots=True)
class Lane:
    """An open partition; the words are those of `eos.consume.lanes`."""

    partition: int
    epoch: int
    assignment: int
    frontier: int
    next: int
    begun: int
    marked: int
    seal: str = ""
    """Under which it claimed last."""


@dataclass(slots=True)
class Slice:
    """A stretch of a lane on its way.

    Attributes:
        lane: Where it is from.
        start: Where the reading of it began.
        end: One past its last offset.
        entries: What was read.
        claimed: When it was claimed, for the check alone.
        seal: The seal under which it was claimed.
        verdicts: What the claim found of each that was read, and whether it is in doubt.
        kept: What is to be handled, and whether it is in doubt.
        rejected: What goes to the dead letters.
    """

    lane: Lane
    start: int
    end: int
    entries: list[Entry]
    claimed: int = 0
    seal: str = ""
    verdicts: list[tuple[Verdict, bool]] = field(default_factory=list)
    kept: list[tuple[Entry, bool]] = field(default_factory=list)
    rejected: list[Entry] = field(default_factory=list)

    def __str__(self) -> str:
        """Give its bounds, and what was found."""
        told = [
            f"{entry}:{verdict}{'?' if doubt else ''}"
            for entry, (verdict, doubt) in zip(self.entries, self.verdicts, strict=False)
        ]
        return f"[{self.start}..{self.end}) {' '.join(told)}"

    def claims(self, *, whole: bool) -> Claims:
        """Give what is asked of the ledger; `whole` marks all of it as begun."""
        lane = self.lane
        begun = self.end if whole else 0
        claims = Claims(lane.partition, lane.epoch, lane.frontier, self.start, self.end, begun)
        identify(self.entries, claims)
        return claims

    def judge(self, claims: Claims, answer: Claimed, places: dict[int, int], on: Switches) -> None:
        """Sort out what the ledger answered, as `eos.claim` does."""
        lane, known = self.lane, answer.known[self.lane.partition]
        ours = on.own_marks and (lane.seal == answer.seal or not on.marks_of_seal)
        if known.begun > lane.marked or not ours:
            lane.begun = max(lane.begun, known.begun)  # it says so of somebody else
        lane.marked, lane.seal = max(known.begun, claims.begun), answer.seal
        self.seal = answer.seal
        for entry in self.entries:
            place = places.get(entry.offset)
            verdict = _unkeyed(entry, known) if place is None else answer.verdicts[place]
            hearsay = place in answer.hearsay
            offset, begun = entry.offset, lane.begun
            doubt = in_doubt(verdict=verdict, offset=offset, begun=begun, hearsay=hearsay)
            self.verdicts.append((verdict, doubt))
            if doubt or verdict in HANDLED:
                self.kept.append((entry, doubt))

    def cut(self, offset: int) -> None:
        """End it before a record that could not be handled."""
        self.end = offset
        self.entries = [entry for entry in self.entries if entry.offset < offset]
        self.kept = [(entry, doubt) for entry, doubt in self.kept if entry.offset < offset]
        self.rejected = [entry for entry in self.rejected if entry.offset < offset]


def identify(entries: list[Entry], into: Claims | Assertion) -> None:
    """Write down those records that carry a key."""
    for entry in entries:
        if entry.key is not None:
            into.offsets.append(entry.offset)
            into.digests.append(str(entry.key).encode())
            into.fingerprints.append(0)
            into.times.append(1)


def _unkeyed(entry: Entry, known: Known) -> Verdict:
    return Verdict.SETTLED if entry.offset < known.floor else Verdict.FRESH
