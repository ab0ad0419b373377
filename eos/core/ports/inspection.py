"""The ledger as an operator sees it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from eos.core.record import Shard
from eos.core.rules import Owner


class PartitionState(NamedTuple):
    """What a ledger knows of a partition; 0 where it knows nothing.

    Attributes:
        epoch: The newest epoch of a take-over.
        claimed: One past the highest offset claimed.
        floor: The highest frontier that it was told.
        begun: Plain tier: one past the highest offset that may have begun.
    """

    epoch: int
    claimed: int
    floor: int
    begun: int


class GenerationState(NamedTuple):
    """Owners that are forgotten together.

    Attributes:
        ends: Where it ends, log time in seconds since the epoch.
        owners: How many owners it has.
    """

    ends: int
    owners: int


class LedgerState(NamedTuple):
    """What a ledger knows of a shard.

    Attributes:
        sealed: Whether it may be claimed in; if not, the next worker that claims recovers it.
        recovering: Whether somebody recovers it, or a part of it.
        partitions: By number.
        generations: Those that are live, the oldest first.
        done: The partitions of which the recovery under way has put everything back.
    """

    sealed: bool
    recovering: bool
    partitions: Mapping[int, PartitionState]
    generations: Sequence[GenerationState]
    done: frozenset[int] = frozenset()


class Inspection(Protocol):
    """Looks at a ledger. Each method raises `RetriableError` if the server is away."""

    def look(self, shard: Shard) -> LedgerState:
        """Tell what is known of a shard."""

    def owners(self, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
        """Tell who owns keys, by digest; those that somebody owns."""


class Surgery(Protocol):
    """Breaks a ledger's seal. Whatever is lost with it, recovery puts back from the log."""

    def unseal(self, shard: Shard) -> None:
        """Let nobody claim before the shard was recovered. Raises `RetriableError` if away."""

    def purge(self, shard: Shard) -> bool:
        """Break the seal, and delete all that is known of a shard.

        Returns:
            False, with nothing deleted, if somebody recovers it now.

        Raises:
            RetriableError: The server is away: some of it may be deleted by now.
        """
