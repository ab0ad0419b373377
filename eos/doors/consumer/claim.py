"""What a loop is told about a record that it was handed."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from eos.consume import Slice
from eos.consume.lanes import Judged
from eos.core.ports import Partition
from eos.core.record import Record
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
    records: list[Record]
    judged: list[Judged] | None


class Claims:
    """Remembers the claims of what is handed out, and of what was not long ago.

    Args:
        records: Of how many records at least.
    """

    def __init__(self, records: int) -> None:
        self._most = records
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
                    slice_.records,
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

    def __call__(self, partition: Partition, offset: int) -> Claim:
        """Give the claim of a record.

        Raises:
            KeyError: It is in none of these batches.
        """
        part, at = self._find(partition, offset)
        return _claim(part, at)

    def record(self, partition: Partition, offset: int) -> Record:
        """Give the record itself. Raises as a call does."""
        part, _ = self._find(partition, offset)
        return next(record for record in part.records if record.offset == offset)

    def _find(self, partition: Partition, offset: int) -> tuple[_Part, int]:
        for batch in reversed(self._batches):
            for part in batch:
                at = bisect_left(part.offsets, offset)
                if part.partition == partition and part.offsets[at : at + 1] == [offset]:
                    return part, at
        raise KeyError(f"{partition}@{offset} was not handed out by one of the latest calls")


def _claim(part: _Part, at: int) -> Claim:
    offset = part.offsets[at]
    key = f"{part.topic_id}/{part.partition[1]}/{offset}"
    for record in part.records:
        if record.offset == offset:
            key = record.idempotency_key
    verdict, in_doubt = Verdict.FRESH, False
    if part.judged is not None:
        verdict, in_doubt = part.judged[at].verdict, part.judged[at].in_doubt
    before = in_doubt or verdict is Verdict.AGAIN
    return Claim(verdict, in_doubt, key, part.epoch, 1 + before)
