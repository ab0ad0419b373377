"""What the audit has: the records that own no key, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from eos.core.rules import Gap, Owner, Verdict


class Suppressed(NamedTuple):
    """A record that was claimed and not handled, as the audit keeps it.

    Attributes:
        partition: Its partition.
        offset: Its offset.
        digest: Keyed digest of its idempotency key.
        owner: In whose favour.
        verdict: DUPLICATE or CONFLICT; FRESH where it was dead-lettered, and the owner is the
            record that was redriven in its place; SETTLED where nothing is delivered any more, from
            this offset up to the owner's: a gap, of which no digest says anything.
        log_time: Its own time stamp, seconds since the epoch.
        source: Who sent it, if a header says so.
    """

    partition: int
    offset: int
    digest: bytes
    owner: Owner
    verdict: Verdict
    log_time: int
    source: str | None


MENDED = "mended"
"""In place of a gap's cause: all that follows from it is done."""


def gap_entry(partition: int, offsets: range, cause: str, time: int) -> Suppressed:
    """Give the entry that says that nothing is delivered at these offsets any more.

    Args:
        partition: Their partition.
        offsets: The offsets.
        cause: `retention`, `compaction`, or `MENDED`.
        time: When this was found, seconds since the epoch.
    """
    owner = Owner(partition, offsets.stop, 0)
    return Suppressed(partition, offsets.start, b"", owner, Verdict.SETTLED, time, cause)


@dataclass(slots=True)
class Audited:
    """Which settled positions of a partition own no key, as the audit says.

    Attributes:
        suppressed: Offsets of what was suppressed.
        redriven: Offsets of dead letters, each with the digest of the key that it gave to the
            record that was published in its place: no other key is taken from it, whatever that
            record said.
        replayed: Offsets that are handled again.
        owners: Of those of them that own no key, by offset and digest: the verdict, and who owns
            the key. The verdicts are to be the same again, though the owner may stand outside of
            all that is read.
        gaps: Where nothing is delivered any more, in the whole partition.
    """

    suppressed: set[int] = field(default_factory=set)
    redriven: set[tuple[int, bytes]] = field(default_factory=set)
    replayed: range = range(0)
    owners: dict[tuple[int, bytes], tuple[Verdict, Owner]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def add(self, entry: Suppressed) -> None:
        """Heed an entry of the audit."""
        if entry.verdict is Verdict.SETTLED:
            self.gaps.append(Gap(entry.offset, entry.owner.offset))
            return
        if entry.verdict is Verdict.FRESH:
            self.redriven.add((entry.offset, entry.digest))
        else:
            self.suppressed.add(entry.offset)
        if entry.offset in self.replayed:
            self.owners[entry.offset, entry.digest] = (entry.verdict, entry.owner)

    def own_none(self, offsets: Sequence[int], digests: Sequence[bytes]) -> frozenset[int]:
        """Give those of these records that own no key."""
        records = zip(offsets, digests, strict=True)
        return frozenset(
            each[0] for each in records if each[0] in self.suppressed or each in self.redriven
        )
