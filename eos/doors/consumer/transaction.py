"""What a loop with a producer wants published, until its commit."""

from collections.abc import Mapping, Sequence

from eos.consume import Slice
from eos.core.errors import AbortableError, RetriableError
from eos.core.keys import MessageIds
from eos.core.ports import Partition
from eos.core.record import Send
from eos.core.settings import Settings
from eos.handle import Handled
from eos.handle.letters import Output
from eos.settle import Settle

MOST_OUTPUTS = 100_000
"""As many as librdkafka queues by default (`queue.buffering.max.messages`)."""

Source = tuple[Partition, int]
"""The partition and the offset of the record that an output comes from."""


class Transaction:
    """Outputs that wait for the commit that settles their records.

    Args:
        settle: Ends transactions.
        settings: The namespace, which is part of the ids of outputs.

    Attributes:
        void: The transaction was aborted, and the loop may not have noticed: what it produces
            now comes from records that it will be handed again, and is dropped.
    """

    def __init__(self, settle: Settle, settings: Settings) -> None:
        self._settle = settle
        self._ids = MessageIds(settings.namespace, "loop")
        self._outputs: list[tuple[Source | None, Output]] = []
        self._ordinals: dict[Source, int] = {}
        self.void = False

    def send(self, send: Send, source: Source | None, key: str) -> None:
        """Add what the user wants published.

        Args:
            send: What, and where to.
            source: The record that it comes from; None if nobody knows.
            key: That record's idempotency key.

        Raises:
            BufferError: Too much waits for a commit.
        """
        if len(self._outputs) >= MOST_OUTPUTS:
            raise BufferError(f"{MOST_OUTPUTS} messages wait for a commit()")
        headers = send.headers
        if source is not None and not any(name == "message-id" for name, _ in headers):
            ordinal = self._ordinals.get(source, 0)
            self._ordinals[source] = ordinal + 1
            headers = [("message-id", self._ids(key, ordinal)), *headers]
        if send.topic is None:
            raise ValueError("produce needs a topic")
        if not self.void:
            self._outputs.append((source, Output(send.topic, send.value, send.key, headers)))

    def drop(self, partition: Partition, offset: int) -> bool:
        """Drop what comes from records that are handed out again.

        Returns:
            False, with nothing dropped, if nobody knows what that is.
        """
        if any(source is None for source, _ in self._outputs):
            return False
        self._outputs = [
            (source, output)
            for source, output in self._outputs
            if source is None or source[0] != partition or source[1] < offset
        ]
        self._ordinals = {
            source: n
            for source, n in self._ordinals.items()
            if source[0] != partition or source[1] < offset
        }
        return True

    def check(self, ends: Mapping[Partition, int]) -> None:
        """See that a commit up to these offsets settles the record of every output.

        Raises:
            ValueError: One of them would be published, and its record handed out again.
        """
        for source, _ in self._outputs:
            if source is not None and source[1] >= ends.get(source[0], 0):
                raise ValueError(
                    f"what comes from {source[0]}@{source[1]} was produced, and this commit would "
                    "not settle that record: commit() without arguments settles both"
                )

    def commit(self, slices: Sequence[Slice], letters: Sequence[Output]) -> None:
        """Publish, and settle these slices, in one transaction. Raises as `Settle` does."""
        if not slices:
            return  # what was produced without any record goes out with the next one
        handled = [Handled(slice_) for slice_ in slices]
        handled[0].outputs += [*letters, *(output for _, output in self._outputs)]
        self._settle(handled)
        self._settle.finish()
        self._outputs, self._ordinals = [], {}

    def abort(self, error: AbortableError | RetriableError) -> AbortableError | RetriableError:
        """Give up what waits; gives the error to act on."""
        self._outputs, self._ordinals = [], {}
        self.void = True
        return self._settle.drop(error)
