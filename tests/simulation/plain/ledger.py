"""The ledger of the model: the project's own in memory, from which details can be left out."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from eos.core.ports import Claimed, Claims, Mark, Recovery, Refused, Taken
from eos.core.record import Shard
from eos.core.rules import Admission
from eos.stores.memory.ledger import MemoryLedger
from tests.simulation.plain.switches import Switches

SHARD = Shard("ns", "group", "topic-id")
_WINDOW = 10**9


class LaxLedger(MemoryLedger):
    """A memory ledger that leaves out what the switches say.

    Args:
        on: What is left out.
        clock: The time in seconds.
        settling: Told of each frontier that is written.
    """

    def __init__(
        self, on: Switches, clock: Callable[[], float], settling: Callable[[Mark], None]
    ) -> None:
        super().__init__(_WINDOW, clock=clock)
        self._on = on
        self._settling = settling
        self.previous: dict[int, int] = {}
        """Part of the answer to the last `take`: the newest epoch known before it."""
        self._taken: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over; a world that looks on remembers it."""
        epochs = self._state(shard).epochs
        self.previous.update({p: epochs.get(p, 0) for p in partitions})
        taken = super().take(shard, partitions)
        for partition, found in taken.items():
            self._taken[partition].append((found.epoch, int(self._clock())))
        return taken

    def replaced_at(self, partition: int, token: int) -> int | None:
        """Give when a newer token was first given out, if it was; no loss touches that."""
        times = [at for epoch, at in self._taken[partition] if epoch > token]
        return min(times, default=None)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim; without marks, epochs or hearsay where they are left out."""
        for claims in batch:
            if not self._on.begun_mark:
                claims.begun = 0
            if not self._on.claim_epoch:
                claims.epoch = self._newest(shard, claims.partition, claims.epoch)
        answer = super().claim(shard, batch)
        if isinstance(answer, Claimed) and not self._on.hearsay:
            return dataclasses.replace(answer, hearsay=frozenset())
        return answer

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Mark what begins; without checks where they are left out."""
        if not self._on.begun_mark:
            return True
        seal = seal if self._on.begin_seal else self._current(shard, seal)
        if not self._on.begin_epoch:
            epoch = self._newest(shard, mark.partition, mark.epoch)
            mark = mark._replace(epoch=epoch)
        return super().begin(shard, seal, mark)

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Settle; without checks where they are left out."""
        seal = seal if self._on.settle_seal else self._current(shard, seal)
        if not self._on.settle_epoch:
            marks = [m._replace(epoch=self._newest(shard, m.partition, m.epoch)) for m in marks]
        answer = super().settle(shard, seal, marks)
        if answer is Admission.OPEN:
            for mark in marks:
                self._settling(mark)
        return answer

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        """Open; without saying what may have begun, where that is left out."""
        if not self._on.begun_to_end:
            begun = dict.fromkeys(begun, 0)
        opened = super().open(shard, recovery, frontiers, begun, partitions)
        if opened and not self._on.hearsay_to_end:
            self._state(shard).opened.update({p: frontiers[p] for p in begun})
        return opened

    def _current(self, shard: Shard, seal: str) -> str:
        return self._state(shard).seal or seal

    def _newest(self, shard: Shard, partition: int, epoch: int) -> int:
        return max(epoch, self._state(shard).epochs.get(partition, 0))
