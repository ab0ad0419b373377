"""Transactions of Kafka, and what is published without one."""

from collections.abc import Callable, Mapping
from typing import Protocol

from eos.core.errors import EosError
from eos.core.frontier import Frontier
from eos.core.ports.log import Partition
from eos.core.record import Headers


class Transactions(Protocol):
    """A transactional producer, supervised. Belongs to one thread."""

    def prepare(self) -> None:
        """Have a producer that may begin; ends what a predecessor left open."""

    def begin(self) -> None:
        """Begin a transaction, with a new producer if the last one is tainted."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> None:
        """Add a message to the transaction, to a partition or (-1) to the one of its key."""

    def send_offsets(self, frontiers: Mapping[Partition, Frontier], group_metadata: object) -> None:
        """Add the frontiers to the transaction, fenced by the group's generation (KIP-447)."""

    def commit(self) -> bool:
        """Commit.

        Returns:
            True if the transaction is known to be committed; False if nobody can say yet: then
            `settle_unknown`, after which the committed offsets tell.
        """

    def abort(self) -> None:
        """Abort what was begun; without a transaction, do nothing."""

    def abandon(self) -> None:
        """Let go of a producer that another thread hangs in; the next one fences it."""

    def settle_unknown(self) -> None:
        """Make the outcome of a transaction final, by a new producer under the same id."""

    def close(self) -> None:
        """Give the producer up."""


class Publish(Protocol):
    """Publishes outside of any transaction."""

    def __call__(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> None:
        """Publish a message, to a partition or (-1) to the one of its key.

        Returns when the brokers have it; raises `RetriableError` if nobody knows whether they do.
        """


class Append(Protocol):
    """Appends records to a log, outside of any transaction, and waits for none of them."""

    def __call__(
        self,
        topic: str,
        partition: int,
        value: bytes,
        headers: Headers,
        told: Callable[[int | EosError], None],
    ) -> None:
        """Append a record.

        Args:
            topic: Where to.
            partition: Where to.
            value: The payload.
            headers: The headers.
            told: Told the record's offset once the brokers have it; or why nobody knows whether
                they do. In another thread.

        Raises:
            RetriableError: Nothing was appended: too much waits already.
        """

    def close(self) -> None:
        """Give the producer up."""
