"""The desk at which an exercise asks a ledger: one shard, and short ways to say things."""

import hashlib
import secrets
import zlib
from collections.abc import Callable, Container, Mapping
from typing import NamedTuple, Protocol

from eos.core.ports import Assertion, Claimed, Claims, Ledger, Mark, Recovery, Refused, Taken
from eos.core.record import Shard
from eos.core.rules import Admission, Verdict

BASE = 1_600_000_000
"""A log time well in the past, at which a generation begins: the clock never clamps it."""

GENERATION = 100
WINDOW = 1000


class Rig(Protocol):
    """Makes a ledger, and does to it what a server may suffer."""

    def ledger(self, *, window: int, generation: int) -> Ledger:
        """Make a client of the ledger, with a window and generations of so many seconds."""

    def lose(self) -> None:
        """Let the ledger forget everything and go on as the same server."""

    def restart(self) -> None:
        """Let the ledger become another server that has the same data."""


Exercise = Callable[[Rig], None]


class Rec(NamedTuple):
    """A record to claim: its key (None for no key), its payload, its time stamp.

    And where it was dead-lettered, if it was redriven.
    """

    key: str | None
    payload: str = "payload"
    time: int = BASE
    redriven: tuple[int, int] | None = None


def digest(key: str | None) -> bytes:
    """Give a 12-byte digest, b"" for no key."""
    return b"" if key is None else hashlib.blake2b(key.encode(), digest_size=12).digest()


def fingerprint(payload: str) -> int:
    """Give a 32-bit fingerprint."""
    return zlib.crc32(payload.encode())


def expect(got: object, want: object, what: str) -> None:
    """Fail unless both are equal."""
    if got != want:
        raise AssertionError(f"{what}: expected {want!r}, got {got!r}")


class Desk:
    """A ledger with a shard of its own.

    Args:
        rig: Makes the ledger.
        window: In seconds.
        generation: In seconds.
    """

    def __init__(self, rig: Rig, *, window: int = WINDOW, generation: int = GENERATION) -> None:
        self.ledger = rig.ledger(window=window, generation=generation)
        self.shard = Shard("suite", secrets.token_hex(6), "topic")
        self.epochs: dict[int, int] = {}

    @classmethod
    def opened(cls, rig: Rig, partitions: int = 2, **settings: int) -> "Desk":
        """Give a desk whose shard is open, with these partitions taken, from offset 0."""
        desk = cls(rig, **settings)
        desk.open(dict.fromkeys(range(partitions), 0))
        desk.take(*range(partitions))
        return desk

    def take(self, *partitions: int) -> dict[int, Taken]:
        """Take partitions over, and claim under their new epochs from here on."""
        taken = self.ledger.take(self.shard, partitions)
        self.epochs.update({p: taken[p].epoch for p in taken})
        return taken

    def lock(self, token: str = "worker", seconds: float = 60) -> Recovery:  # noqa: S107
        """Take the recovery lock, which must be free."""
        recovery = self.ledger.lock(self.shard, token, seconds)
        if recovery is None:
            raise AssertionError("the recovery lock is free, yet it was refused")
        return recovery

    def open(
        self,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int] | None = None,
        *put_back: Assertion,
    ) -> None:
        """Recover, with what there is to put back."""
        recovery = self.lock()
        for stretch in put_back:
            expect(self.ledger.reassert(self.shard, recovery, stretch), True, "re-assert")
        opened = self.ledger.open(self.shard, recovery, frontiers, begun or {})
        expect(opened, True, "open under a lock")

    def claims(
        self,
        partition: int,
        start: int,
        *records: Rec,
        frontier: int = 0,
        epoch: int | None = None,
        end: int | None = None,
        begun: int = 0,
    ) -> Claims:
        """Give the claims of records that stand side by side from `start`."""
        return Claims(
            partition=partition,
            epoch=self.epochs.get(partition, 0) if epoch is None else epoch,
            frontier=frontier,
            start=start,
            end=start + len(records) if end is None else end,
            begun=begun,
            offsets=list(range(start, start + len(records))),
            digests=[digest(r.key) for r in records],
            fingerprints=[fingerprint(r.payload) for r in records],
            times=[r.time for r in records],
            redriven={n: r.redriven for n, r in enumerate(records) if r.redriven},
        )

    def ask(self, *batch: Claims) -> Claimed:
        """Claim a batch that must be admitted."""
        answer = self.ledger.claim(self.shard, batch)
        if isinstance(answer, Refused):
            raise AssertionError(f"a batch that may be claimed was refused: {answer}")  # noqa: TRY004
        expect(len(answer.verdicts), sum(len(c.offsets) for c in batch), "verdicts in the answer")
        return answer

    def verdicts(
        self, partition: int, start: int, *records: Rec, frontier: int = 0
    ) -> list[Verdict]:
        """Claim records of one partition; give their verdicts."""
        return self.ask(self.claims(partition, start, *records, frontier=frontier)).verdicts

    def mark(self, partition: int, offset: int, epoch: int | None = None) -> Mark:
        """Give a mark under the newest epoch of a partition, or another one."""
        return Mark(partition, self.epochs[partition] if epoch is None else epoch, offset)

    def refused(self, why: Admission, partition: int, *batch: Claims) -> None:
        """Claim a batch that must be refused."""
        expect(self.ledger.claim(self.shard, batch), Refused(why, partition), "the refusal")

    def closed(self, *batch: Claims) -> None:
        """Claim a batch that must find the ledger closed."""
        self.refused(Admission.CLOSED, -1, *batch)

    def assertion(
        self,
        partition: int,
        start: int,
        *records: Rec,
        end: int | None = None,
        settled: bool = False,
        audited: Container[int] = (),
    ) -> Assertion:
        """Give a stretch of records for recovery to put back."""
        told = self.claims(partition, start, *records, end=end)
        lists = (told.offsets, told.digests, told.fingerprints, told.times)
        floor = told.end if settled else 0
        return Assertion(partition, told.end, *lists, settled, audited, told.redriven, floor)

    def advance(self, times: Mapping[int, int], partitions: int = 2) -> int:
        """Tell frontier times; give how many generations are live."""
        return self.ledger.advance(self.shard, times, partitions)
