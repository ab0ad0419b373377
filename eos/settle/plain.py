"""Settles records whose effects lie outside of Kafka: in the ledger at once, in Kafka soon.

The ledger's floor is the frontier of this tier. Kafka's committed offset follows it, so that the
group's lag is right and the frontier survives the ledger: it may fall behind, never run ahead.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

from eos.consume import Consume
from eos.consume.lanes import Lane, Slice
from eos.core.errors import AbortableError, RetriableError
from eos.core.events import DeadLettered, Emit, Settled
from eos.core.frontier import Frontier
from eos.core.ports import Clock, Ledger, Mark, Partition
from eos.core.record import Shard
from eos.core.rules import Admission


class Plain:
    """Settles slices of plain lanes.

    Args:
        ledger: Keeps the frontiers.
        consume: Whose frontiers are moved on.
        interval: Kafka's offsets fall behind by at most so many seconds.
        emit: Told what was settled.
        clock: Tells the time.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        consume: Consume,
        interval: float,
        emit: Emit,
        clock: Clock = time,
    ) -> None:
        self._ledger = ledger
        self._consume = consume
        self._interval = interval
        self._emit = emit
        self._clock = clock
        self._behind: dict[Partition, tuple[Lane, Frontier]] = {}
        self._due = 0.0

    def settle(
        self,
        slices: Sequence[Slice],
        *,
        tell: bool = True,
        letters: Sequence[DeadLettered] = (),
    ) -> None:
        """Settle what was handled; the lanes' frontiers are moved on.

        Args:
            slices: What was handled.
            tell: Tell the ledger now; otherwise the next claim does.
            letters: The dead letters among it.

        A ledger that was lost meanwhile is no error: the effects took place. The next claim
        finds it closed, and tells it the frontiers.

        Raises:
            AbortableError: Somebody else has taken one of the partitions over.
        """
        if tell:
            with suppress(RetriableError):  # the next claim tells it; so does Kafka's offset
                self.tell(slices)
        for slice_ in slices:
            lane = slice_.lane
            told = slice_.frontier
            self._consume.settled(slice_)
            if not self._behind:
                self._due = self._clock.monotonic() + self._interval
            self._behind[lane.partition] = (lane, told)
        self._emit(Settled([slice_.tally for slice_ in slices], letters))

    def tell(self, slices: Sequence[Slice]) -> None:
        """Tell the ledger what is settled.

        Raises:
            AbortableError: Somebody else has taken one of the partitions over.
            RetriableError: The ledger is away.
        """
        by_seal: dict[tuple[Shard, str], list[Slice]] = defaultdict(list)
        for slice_ in slices:
            by_seal[slice_.lane.shard, slice_.seal].append(slice_)
        for (shard, seal), together in by_seal.items():
            marks = [Mark(s.lane.partition[1], s.lane.epoch, s.end) for s in together]
            if self._ledger.settle(shard, seal, marks) is Admission.FENCED:
                raise AbortableError("somebody else has taken a partition over", "ledger_fenced")

    def commit(self, *, wait: bool) -> None:
        """Let Kafka's committed offsets follow. Raises as `Reader.commit` does."""
        behind, self._behind = self._behind, {}
        # Not of a partition that was somebody else's meanwhile: he may have settled more.
        ours = {p: frontier for p, (lane, frontier) in behind.items() if self._consume.holds(lane)}
        if ours:
            self._consume.commit(ours, wait=wait)

    def commits(self, frontiers: Mapping[Partition, Frontier]) -> None:
        """Take note that somebody else commits these."""
        self._behind = {p: kept for p, kept in self._behind.items() if p not in frontiers}

    def behind(self) -> dict[Partition, int]:
        """Give what is settled and not committed to Kafka yet."""
        return {partition: frontier.offset for partition, (_, frontier) in self._behind.items()}

    def commit_if_due(self) -> None:
        """Let them follow if it is time; nobody waits for the answer."""
        if self._behind and self._clock.monotonic() >= self._due:
            self.commit(wait=False)
