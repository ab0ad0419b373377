"""A transactional producer in memory."""

from collections.abc import Mapping

from eos.core.errors import AbortableError, FencedError
from eos.core.frontier import Frontier
from eos.core.ports import Partition
from eos.core.record import Headers
from eos.testing.memory.broker import Broker, Transaction


class MemoryTransactions:
    """A `Transactions`; two under one id fence each other."""

    def __init__(self, kafka: Broker, transactional_id: str) -> None:
        self._kafka = kafka
        self._id = transactional_id
        self._epoch: int | None = None

    def prepare(self) -> None:
        """Have a producer that may begin."""
        if self._epoch is None:
            self._epoch = self._kafka.initialise(self._id)

    def begin(self) -> None:
        """Begin a transaction."""
        self.prepare()
        with self._kafka.changed:
            current = self._mine()
            current.open, current.expired = True, False

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> None:
        """Add a message to the transaction."""
        with self._kafka.changed:
            self._current().outputs.append((topic, value, key, headers, partition))

    def send_offsets(self, frontiers: Mapping[Partition, Frontier], group_metadata: object) -> None:
        """Add the frontiers, fenced by the group's generation."""
        with self._kafka.changed:
            if group_metadata != self._kafka.generation:
                raise AbortableError("the group moved on", "transaction")
            self._current().offsets.update(frontiers)

    def commit(self) -> bool:
        """Commit."""
        with self._kafka.changed:
            current = self._current()
            for topic, value, key, headers, number in current.outputs:
                partition = number if number >= 0 else None
                self._kafka.send(topic, value, key=key, headers=headers, partition=partition)
            self._kafka.committed.update(current.offsets)
            current.end()
            return True

    def abort(self) -> None:
        """Abort what was begun."""
        with self._kafka.changed:
            if self._epoch is not None:
                self._mine().end()

    def abandon(self) -> None:
        """Let go of the producer; what it began is fenced."""
        self.settle_unknown()

    def settle_unknown(self) -> None:
        """Make the outcome of a transaction final."""
        self._epoch = self._kafka.initialise(self._id)

    def close(self) -> None:
        """Abort what was begun; a producer that was replaced has nothing to abort."""
        try:
            self.abort()
        except FencedError:
            return

    def _current(self) -> Transaction:
        current = self._mine()
        if current.expired:
            raise AbortableError("the transaction was open for too long", "transaction")
        return current

    def _mine(self) -> Transaction:
        return self._kafka.transaction(self._id, self._epoch or 0)
