"""The outbox: rows that are to become messages."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from eos.core.outbox import Progress, Row


class Backlog(NamedTuple):
    """What waits in an outbox.

    Attributes:
        rows: How many rows are to be published now.
        oldest: How long the oldest of them has waited, in seconds; 0 if there is none.
        scheduled: How many rows wait for their time.
        dead: How many were put aside because Kafka will not take them.
    """

    rows: int
    oldest: float
    scheduled: int
    dead: int


class DeadRow(NamedTuple):
    """A row that was put aside.

    Attributes:
        id: Its number.
        topic: Where it was to go.
        message_id: Its `message-id`.
        reason: Why Kafka did not take it.
    """

    id: int
    topic: str
    message_id: str
    reason: str


class Rows(Protocol):
    """One shard of an outbox, as its relay sees it. Belongs to one thread.

    What is changed names the `Progress` that it is based on. Each method raises `AbortableError`
    with cause `outbox_fenced` if that is not what the database has: another relay went on. A
    database that is away is a `RetriableError`.
    """

    def progress(self) -> Progress:
        """Read what the database knows; the first call makes the shard's row."""

    def rows(self, ids: Sequence[int]) -> list[Row]:
        """Read rows, in the order of their ids."""

    def record(
        self, known: Progress, limit: int, *, published: bool
    ) -> tuple[Progress, Sequence[Row]]:
        """Mark the recorded batch as published, if it is, and record the next one.

        One transaction. The next batch has the first rows by id that are committed; rows that are
        due by now come from the scheduled ones.

        Args:
            known: What the database knows.
            limit: How many rows a batch has at most.
            published: Whether the recorded batch is published.

        Returns:
            What the database knows now, and the rows of the recorded batch: none if nothing waits.
        """

    def narrow(self, known: Progress, ids: Sequence[int]) -> Progress:
        """Leave only some rows in the recorded batch; the others wait for the next."""

    def bury(self, known: Progress, reasons: Mapping[int, str]) -> Progress:
        """Put rows of the recorded batch aside, by id, each with its reason."""

    def wait(self, seconds: float) -> bool:
        """Wait until a row may have been added, or is due; False after a while. Never raises."""

    def forget(self) -> bool:
        """Delete some published rows that were kept for long enough; whether there may be more."""

    def close(self) -> None:
        """Give connections back."""


class Outbox(Protocol):
    """An outbox in a database."""

    def check(self) -> None:
        """See that the tables are there.

        Raises:
            ConfigError: They are not, or are of another version.
        """

    def take(self, namespace: str) -> None:
        """Have the outbox relayed under this namespace.

        Raises:
            ConfigError: It is relayed under another one: both would publish every row.
        """

    def shard(self, number: int) -> Rows:
        """Give a shard."""

    def backlog(self) -> Backlog:
        """Count what waits."""


class Upkeep(Protocol):
    """An outbox as its operator sees it. A database that is away is a `RetriableError`."""

    def check(self) -> None:
        """As `Outbox.check`."""

    def backlog(self) -> Backlog:
        """As `Outbox.backlog`."""

    def namespace(self) -> str | None:
        """Give the namespace it is relayed under; None if it never was."""

    def shards(self) -> dict[int, Progress]:
        """Give what the database knows of each shard; none if it was never relayed."""

    def waiting(self, shard: int) -> int:
        """Count the rows of a shard that are to be published, those of its batch included."""

    def dead(self, limit: int) -> list[DeadRow]:
        """Give the dead rows that were added last, the newest first."""

    def redrive(self, ids: Collection[int] | None) -> int:
        """Put dead rows back into the outbox, all at once, each at its old place in the order.

        Args:
            ids: Which ones; None: all of them.

        Returns:
            How many.

        Raises:
            ConfigError: There is no dead row with one of these ids; nothing is put back then.
        """

    def settle(self, shard: int, known: Progress, sent: int, *, published: bool) -> None:
        """Let a shard go on behind batch `sent`, with nothing recorded.

        Args:
            shard: Which one.
            known: What the database knows.
            sent: The number of the last batch that is published.
            published: Whether the recorded batch is published. If not, its rows wait again.

        Raises:
            AbortableError: The database knows something else meanwhile; nothing is changed.
        """
