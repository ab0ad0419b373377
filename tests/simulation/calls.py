"""What is told to the ledger of the model, and what it answers."""

from typing import NamedTuple

from eos.core.rules import Admission, Owner, Verdict
from tests.simulation.kafka import Record


class Seal(NamedTuple):
    """The server's identity, and a number that no other opening has."""

    identity: int
    nonce: int

    def __str__(self) -> str:
        """Give a short name."""
        return f"seal {self.identity}/{self.nonce}"


class Claims(NamedTuple):
    """The claims of one partition in one batch."""

    partition: int
    epoch: int
    frontier: int
    start: int
    end: int
    records: list[Record]


class Claimed(NamedTuple):
    """The answer to claims that were taken."""

    seal: Seal
    verdicts: list[Verdict]
    owners: list[Owner | None]
    """Who else owns the key, by record."""
    floors: dict[int, int]
    """Below which all was called SETTLED, by partition."""

    def __str__(self) -> str:
        """Give the verdicts."""
        return " ".join(verdict.name for verdict in self.verdicts)


class Refused(NamedTuple):
    """The answer to claims that were not."""

    why: Admission
    partition: int

    def __str__(self) -> str:
        """Give the reason."""
        return f"refused, {self.why.name} p{self.partition}"


class Lock(NamedTuple):
    """Who holds the recovery lock, and which holding of it that is."""

    token: int
    stamp: int


class Locked(NamedTuple):
    """The answer while somebody else holds it."""

    by: Lock


class Recovery(NamedTuple):
    """The right to recover: what it runs against, and from where on to read again."""

    identity: int
    lock: Lock
    begin: dict[int, int]
    sealed: bool
