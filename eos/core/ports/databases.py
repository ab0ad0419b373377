"""Databases: effects, and the frontiers that go with them."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Protocol

from eos.core.frontier import Frontier
from eos.core.ports.audit import Audited, Suppressed
from eos.core.ports.ledger import Assertion, Claimed, Claims
from eos.core.record import Shard
from eos.core.rules import Owner


class Effects(Protocol):
    """One transaction of a database: effects, and the frontiers that go with them.

    Every method raises `RetriableError` if the transaction cannot go on (a server is away, a
    deadlock, a serialization failure), and `FatalError` if trying again cannot help.
    """

    db: Any
    """What handlers are given."""

    def lock(self, shard: Shard, partition: int, start: int) -> bool:
        """Keep others from moving a frontier until the end; False if it is not at `start`."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed:
        """Claim keys that this same database keeps, by the rules of `eos.core.rules`.

        They are claimed if the transaction commits, and were never claimed if it does not: there
        is nothing to confirm. Who claims a key that another transaction is claiming waits for its
        end. The rows of the partitions are locked by then.
        """

    def note(self, shard: Shard, suppressed: Sequence[Suppressed]) -> None:
        """Write down what is settled without being handled."""

    def guard(self) -> None:
        """Let handlers begin: `undo` goes back to here, and `check` looks for it."""

    def undo(self, error: Exception) -> None:
        """Undo what handlers did; locks and claims stay.

        Args:
            error: What they raised.

        Raises:
            AbortableError: It says that the transaction cannot go on.
            FatalError: They have ended the transaction.
        """

    def advance(self, shard: Shard, partition: int, start: int, frontier: Frontier) -> bool:
        """Move a frontier on.

        Returns:
            False, with nothing written, if it is not at `start`: somebody else moved it.
        """

    def savepoint(self) -> AbstractContextManager[object]:
        """Undo what is done inside, and that alone, if it raises."""

    def check(self) -> None:
        """See that the transaction is still the one that was begun.

        Raises:
            FatalError: The handler committed, or rolled back, by itself.
        """

    def commit(self) -> None:
        """Commit. After a `RetriableError` nobody knows whether it took place: the rows do."""

    def rollback(self) -> None:
        """Give it up; never raises."""


class Inbox(Protocol):
    """Frontiers in a database, beside the effects: rows, and not Kafka's offsets, are the truth."""

    joins: bool
    """Whether the ledger is this database: then claims are made in its transactions."""

    def check(self) -> None:
        """See that the tables are there.

        Raises:
            ConfigError: They are not, or are of another version.
        """

    def frontiers(self, shard: Shard, partitions: Collection[int]) -> dict[int, Frontier]:
        """Read rows, waiting for transactions that are changing them; those there are."""

    def create(self, shard: Shard, topic: str, starts: Mapping[int, Frontier]) -> None:
        """Make rows that are not there yet, and leave the others as they are."""

    def audited(
        self, shard: Shard, partition: int, offsets: range, replayed: range = range(0)
    ) -> Audited:
        """Give which positions in this range own no key, as the audit says.

        Args:
            shard: Whose.
            partition: The partition.
            offsets: The range.
            replayed: Those of them that are handled again.
        """

    def note(self, shard: Shard, gap: Suppressed) -> None:
        """Write down, by itself, that nothing is delivered any more somewhere."""

    def unmended(self, shard: Shard, partition: int) -> list[tuple[range, str]]:
        """Give the gaps that were noted and not yet noted as `MENDED`, and their causes."""

    def copies(self, shard: Shard) -> list[Suppressed]:
        """Give what was suppressed in favour of owners in gaps, and was not redriven."""

    def owners(self, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
        """Where the ledger is joined: tell who owns keys, by digest; those that somebody owns."""

    def own(self, shard: Shard, assertion: Assertion) -> None:
        """Where the ledger is joined: make positions the owners of keys that nobody owns."""

    def advance(
        self, shard: Shard, frontier_times: Mapping[int, int], partitions: int, window: int
    ) -> bool:
        """Tell how far partitions have come in log time, and forget keys that no window needs.

        Args:
            shard: The shard.
            frontier_times: As for `Ledger.advance`.
            partitions: As for `Ledger.advance`.
            window: For how long a key is kept, in seconds of log time.

        Returns:
            Whether there may be more to forget.
        """

    def begin(self) -> Effects:
        """Begin a transaction."""


NO_INBOXES: Mapping[str, Inbox] = MappingProxyType({})
