"""How far a group has come in a partition, as it stands beside the offset that is committed.

The metadata of a committed offset is `eos1;3,topic=…,tier=inbox,peak=900;note`: how many tries of
the next record have failed, what else is to be known of the partition, and the user's own note.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

_OURS = "eos1"
_LONGEST = 4096

TRANSACTION, INBOX, PLAIN = "", "inbox", "plain"
"""Which tier a partition is in: where its frontier is kept, and what Kafka's offset is worth."""


class Replay(NamedTuple):
    """What was settled and is handled again; it ends where the first run had come to.

    Attributes:
        peak: One past the highest offset that was ever settled.
        until: Only what stands below it is handled again; the rest stays settled.
        run: Names the replay where its outputs get ids of their own; empty: they keep those of
            the first run.
        keys: Only records with these digests of idempotency keys are handled again; none: all.
    """

    peak: int
    until: int
    run: str = ""
    keys: frozenset[bytes] = frozenset()

    def handles(self, offset: int, digest: bytes) -> bool:
        """Tell whether a record is handled again, if the claim says that it may be."""
        if offset >= self.peak:
            return True
        return offset < self.until and (not self.keys or digest in self.keys)


class Frontier(NamedTuple):
    """The first offset that is not settled, and what travels in the offset's metadata.

    Attributes:
        offset: The first offset that is not settled.
        attempts: How many tries of the record at that offset have failed.
        ours: Whether eos committed it. Another consumer of the group may have handled records
            above what it committed, and nobody can know which.
        note: Metadata of the user's own.
        tier: The partition's tier: `TRANSACTION`, `INBOX` or `PLAIN`.
        replay: What is handled again of what stands at this offset and above it; None: nothing.
        topic_id: The id of the topic; empty: nobody said. An offset of a topic that was deleted
            says nothing about another one of its name.
        leader_epoch: The epoch of the leader that wrote the last settled record (KIP-320); -1: not
            known. A log that was cut off below the frontier is known by it, even if it has grown
            beyond it since.
    """

    offset: int
    attempts: int = 0
    ours: bool = True
    note: str = ""
    tier: str = TRANSACTION
    replay: Replay | None = None
    topic_id: str = ""
    leader_epoch: int = -1

    def at_row(self, row: "Frontier") -> "Frontier":
        """Give what is known where a database has the frontier, and Kafka's offset follows it."""
        epoch = self.leader_epoch if row.offset == self.offset else -1
        return self._replace(offset=row.offset, attempts=row.attempts, leader_epoch=epoch)

    def is_of(self, topic_id: str) -> bool:
        """Tell whether it may be of the topic with this id."""
        return self.topic_id in {"", topic_id}

    @property
    def metadata(self) -> str:
        """The metadata to commit; the user's part is cut where all would be too long.

        Kafka's limit is `offset.metadata.max.bytes`, 4096 by default.
        """
        text = f"{_OURS};{self._told()};{self.note}" if self.ours else self.note
        return text.encode()[:_LONGEST].decode(errors="ignore")

    def _told(self) -> str:
        told = [str(self.attempts)]
        if self.topic_id:
            told.append(f"topic={self.topic_id}")
        if self.tier:
            told.append(f"tier={self.tier}")
        if self.replay is not None:
            peak, until, run, keys = self.replay
            told += [f"peak={peak}", f"until={until}"]
            told += [f"run={run}"] if run else []
            told += [f"key={urlsafe_b64encode(key).decode()}" for key in sorted(keys)]
        return ",".join(told)


def parse(offset: int, metadata: str | None) -> Frontier:
    """Read what `Frontier.metadata` wrote; whatever else it may be is somebody's note."""
    ours, _, rest = (metadata or "").partition(";")
    told, _, note = rest.partition(";")
    attempts, *pairs = told.split(",")
    theirs = Frontier(offset, ours=False, note=metadata or "")
    if ours != _OURS or not (attempts.isascii() and attempts.isdigit()):
        return theirs
    try:
        return _parse(Frontier(offset, int(attempts), note=note), pairs)
    except ValueError:
        return theirs


def _parse(frontier: Frontier, pairs: list[str]) -> Frontier:
    """Read what stands behind the attempts; a `ValueError` if it is not ours."""
    split = [(name, value) for name, _, value in (pair.partition("=") for pair in pairs)]
    told = dict(split)
    if "peak" in told:
        keys = frozenset(urlsafe_b64decode(value) for name, value in split if name == "key")
        peak, until = int(told["peak"]), int(told.get("until", told["peak"]))
        frontier = frontier._replace(replay=Replay(peak, until, told.get("run", ""), keys))
    tier, topic_id = told.get("tier", TRANSACTION), told.get("topic", "")
    return frontier._replace(tier=tier, topic_id=topic_id)
