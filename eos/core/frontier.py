"""How far a group has come in a partition, as it stands beside the offset that is committed."""

from typing import NamedTuple

_OURS = "eos1"
_LONGEST = 4096


class Frontier(NamedTuple):
    """The first offset that is not settled, and what travels in the offset's metadata.

    Attributes:
        offset: The first offset that is not settled.
        attempts: How many tries of the record at that offset have failed.
        ours: Whether eos committed it. Another consumer of the group may have handled records
            above what it committed, and nobody can know which.
        note: Metadata of the user's own.
    """

    offset: int
    attempts: int = 0
    ours: bool = True
    note: str = ""

    @property
    def metadata(self) -> str:
        """The metadata to commit; the user's part is cut where all would be too long.

        Kafka's limit is `offset.metadata.max.bytes`, 4096 by default.
        """
        text = f"{_OURS};{self.attempts};{self.note}" if self.ours else self.note
        return text.encode()[:_LONGEST].decode(errors="ignore")


def parse(offset: int, metadata: str | None) -> Frontier:
    """Read what `Frontier.metadata` wrote; whatever else it may be is somebody's note."""
    ours, _, rest = (metadata or "").partition(";")
    attempts, _, note = rest.partition(";")
    if ours != _OURS or not (attempts.isascii() and attempts.isdigit()):
        return Frontier(offset, ours=False, note=metadata or "")
    return Frontier(offset, int(attempts), note=note)
