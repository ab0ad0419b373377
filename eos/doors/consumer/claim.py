"""What a loop is told about a record that it was handed."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from eos.claim.keys import Identify
from eos.consume import Slice
from eos.consume.lanes import Judged, record_of
from eos.core.ports import Partition
from eos.core.record import Message, Record
from eos.core.rules import Verdict


class Claim(NamedTuple):
    """The claim of one record, from `Consumer.claim`.

    Attributes:
        verdict: FRESH, or AGAIN where an earlier attempt did not settle.
        in_doubt: Whether an earlier attempt may have had its effect: plain tier.
        idempotency_key: What makes a re-send recognisable; the position where the record carries
            no key. The same in every attempt: hand it to the service that you call.
        fencing_token: Grows with each take-over of the partition.
        attempt: 1 where nobody can have tried before, else 2.
    """

    verdict: Verdict
    in_doubt: bool
    idempotency_key: str
    fencing_token: int
    attempt: int


class _Part(NamedTuple):
    partition: Partition
    topic_id: str
    epoch: int
    offsets: list[int]
    judged: list[Judged] | None


class Claims:
    """Remembers the claims of what is handed out, and of what was not long ago.

    Args:
        records: Of how many records at least.
        identify: Names records.
    """

    def __init__(self, records: int, identify: Identify) -> None:
        self._most = records
        self._identify = identify
        self._records = 0
        self._batches: deque[list[_Part]] = deque()

    def remember(self, batch: Sequence[Slice]) -> None:
        """Remember a batch that was claimed. What is handed on may be changed afterwards."""
        self._batches.append(
            [
                _Part(
                    slice_.lane.partition,
                    slice_.lane.shard.topic_id,
                    slice_.lane.epoch,
                    slice_.offsets,
                    slice_.judged,
                )
                for slice_ in batch
            ]
        )
        self._records += sum(slice_.read for slice_ in batch)

    def thin(self, ahead: int) -> None:
        """Forget the oldest batches.

        Args:
            ahead: How many records wait to be handed out.
        """
        while self._records > self._most + ahead and len(self._batches) > 1:
            oldest = self._batches.popleft()
            self._records -= sum(len(part.offsets) for part in oldest)

    def __call__(self, message: Message) -> Claim:
        """Give the claim of a record.

        Raises:
            KeyError: It is in none of these batches.
        """
        judged, record = self._find(message)
        before = record.in_doubt or (judged is not None and judged.verdict is Verdict.AGAIN)
        return Claim(
            Verdict.FRESH if judged is None else judged.verdict,
            record.in_doubt,
            record.idempotency_key,
            record.fencing_token,
            1 + before,
        )

    def record(self, message: Message) -> Record:
        """Give the record itself. Raises as a call does."""
        return self._find(message)[1]

    def _find(self, message: Message) -> tuple[Judged | None, Record]:
        partition, offset = (message.topic(), message.partition()), message.offset()
        for batch in reversed(self._batches):
            for part in batch:
                at = bisect_left(part.offsets, offset)
                if part.partition == partition and part.offsets[at : at + 1] == [offset]:
                    record = record_of(message, part.topic_id, part.epoch)
                    self._identify.name(record)
                    judged = None if part.judged is None else part.judged[at]
                    record.in_doubt = judged is not None and judged.in_doubt
                    return judged, record
        raise KeyError(f"{partition}@{offset} was not handed out by one of the latest calls")
