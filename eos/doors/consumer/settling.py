"""What of a loop counts as handled, and how that is settled.

A record counts as handled when the loop comes back for the next one, or when it is committed, and
never because it was handed out.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from eos.build import Loop
from eos.consume import Slice
from eos.core.errors import EosError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Partition
from eos.core.settings import duration
from eos.doors.consumer.conf import Conf
from eos.doors.consumer.tape import Tape
from eos.doors.consumer.transaction import Transaction
from eos.handle.letters import Output


class Settling:
    """Settles what the loop handled.

    Args:
        below: The steps.
        conf: What the consumer's configuration says.
        tape: What is handed out.
        transaction: What waits for a commit; None in the plain tier.

    Attributes:
        last: How many records of the tape the latest call handed out.
        before: Where partitions stood before the latest call, if the tape tells no more.
        due: When something is to be settled, monotonic seconds.
    """

    def __init__(
        self, below: Loop, conf: Conf, tape: Tape, transaction: Transaction | None
    ) -> None:
        self._plain = below.plain
        self._consume = below.consume
        self._opening = below.opening
        self._reader = below.reader
        self._letter = below.letters
        self._publish = below.publish
        self._tape = tape
        self._transaction = transaction
        self._auto_commit = conf.auto_commit
        self._auto_store = conf.auto_store
        # A policy that wants to know which record began wants to know which one is over, too.
        by_record = conf.settings.in_doubt != "retry"
        self._interval = 0.0 if by_record else duration(conf.settings.commit_interval)
        self._stored: dict[Partition, int] = {}
        self.last = 0
        self.before: dict[Partition, int] | None = None
        self.due = 0.0
        self.rest()

    def come_back(self) -> None:
        """Take note that the loop is back: what it was handed is handled. Raises as `commit`."""
        self.last, self.before = 0, None
        if time.monotonic() < self.due:
            return
        self.rest()
        if self._transaction is not None:
            self._commit_transaction(self._handled())
        else:
            self._settle(self._handled(), tell=True)
            self._plain.commit_if_due()

    def before_claim(self) -> None:
        """Settle what is handled just before a claim, which tells the ledger in the same call."""
        if self._auto_commit and self._transaction is None and not self.last:
            self._settle(self._handled(), tell=False)
            self._plain.commit_if_due()
            self.rest()

    def rest(self) -> None:
        """Settle nothing by itself for a while."""
        self.due = time.monotonic() + self._interval if self._auto_commit else float("inf")

    def freeze(self) -> None:
        """Remember what the loop is not back from: the tape is about to be changed."""
        if self.before is None and self.last:
            self.before = self._returned()

    def forget(self, partitions: Collection[Partition]) -> None:
        """Forget what the user stored for partitions that are lost."""
        for partition in partitions:
            self._stored.pop(partition, None)

    def store(self, ends: Mapping[Partition, int]) -> None:
        """Take note of what the user says is handled; what is settled already is no news."""
        for partition, end in ends.items():
            lane = self._consume.lane(partition)
            if lane is None or end > lane.frontier:
                self._stored[partition] = end
            else:
                self._stored.pop(partition, None)

    def commit(
        self, wanted: Mapping[Partition, tuple[int, str]] | None, *, wait: bool
    ) -> list[Any] | None:
        """Settle up to these offsets, each with the user's note, or all that was handed out.

        Raises:
            AbortableError: Nothing was settled: start over.
            RetriableError: A server is away: start over.
        """
        if wanted is None:
            wanted = {partition: (end, "") for partition, end in self._new().items()}
        wanted = {partition: told for partition, told in wanted.items() if told[0] >= 0}
        ends = {partition: end for partition, (end, _) in wanted.items()}
        replays = self._replay(ends)
        if self._transaction is not None:
            if replays:
                self._reader.commit_for_user(
                    {p: self._consume.lanes[p].frontier_at(end) for p, end in replays.items()},
                    wait=True,
                )
            done = self._commit_transaction({p: e for p, e in ends.items() if p not in replays})
            return self._reader.told(done | replays) if wait else None
        self._settle(ends, tell=True)
        frontiers = {p: self._frontier(p, end, note) for p, (end, note) in wanted.items()}
        self._plain.commits(frontiers)
        answer = self._reader.commit_for_user(frontiers, wait=wait)
        for partition, end in ends.items():
            number = self._reader.assigned().get(partition)
            if number is not None and self._consume.lane(partition) is None:
                self._opening.told[partition] = (number, end)
        return answer

    def give_back(self, partitions: Collection[Partition]) -> None:
        """Settle what is handled before partitions are given back. Called from within a poll."""
        if not self._auto_commit:
            return
        with suppress(EosError):
            if self._transaction is not None:
                self._commit_transaction(self._returned())
            else:
                ends = {p: end for p, end in self._returned().items() if p in partitions}
                self._settle(ends, tell=True)
                self._plain.commit(wait=True)

    def close(self) -> None:
        """Settle what the loop came back from."""
        if self._auto_commit and self._transaction is None:
            with suppress(EosError):
                self._settle(self._returned(), tell=True)
                self._plain.commit(wait=True)
        self._auto_commit = False  # what is given back from now on was settled, or never will be

    def _handled(self) -> dict[Partition, int]:
        """Give up to where it is handled, as the loop is back."""
        return self._tape.ends() if self._auto_store else dict(self._stored)

    def _returned(self) -> dict[Partition, int]:
        """Give up to where it is handled, if the loop is not back from the latest call."""
        if not self._auto_store:
            return dict(self._stored)
        if self.before is not None:
            return self.before
        return self._tape.ends(self._tape.at - self.last)

    def _new(self) -> dict[Partition, int]:
        """Give what was handed out, or stored, and is not committed yet."""
        lanes, stored = self._consume.lanes, not self._auto_store
        new = {
            partition: end
            for partition, end in self._handled().items()
            # What is only read ahead stands above a replay that was announced, and is no news.
            if (stored or self._tape.touched(partition))
            and (partition not in lanes or end > lanes[partition].frontier)
        }
        return self._plain.behind() | new

    def _replay(self, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """Announce replays where an offset lies below the frontier; reading goes on where it is."""
        replays = {}
        for partition, end in ends.items():
            lane = self._consume.lane(partition)
            if lane is not None and end < lane.frontier:
                self._opening.announce(lane, end)
                replays[partition] = end
        return replays

    def _frontier(self, partition: Partition, end: int, note: str) -> Frontier:
        """Give what to commit; what was never begun is not called so because of a commit."""
        lane = self._consume.lane(partition)
        if lane is None or not lane.ours:
            if lane is not None:
                lane.told = end
            return Frontier(end, ours=False, note=note)
        return lane.frontier_at(end, note=note)

    def _settle(self, ends: Mapping[Partition, int], *, tell: bool) -> None:
        slices = self._tape.take(ends)
        if not slices:
            return
        try:
            for letter in self._letters(slices):
                self._publish(*letter)
        except RetriableError:
            self._tape.put_back(slices)
            raise
        self._settled(slices)
        self._plain.settle(slices, tell=tell)

    def _letters(self, slices: Sequence[Slice]) -> list[Output]:
        return [self._letter(record, why) for slice_ in slices for record, why in slice_.rejected]

    def _settled(self, slices: Sequence[Slice]) -> None:
        for slice_ in slices:
            lane, end = slice_.lane, slice_.end
            lane.handed = max(lane.handed, end)
            if self._stored.get(lane.partition, end + 1) <= end:
                del self._stored[lane.partition]

    def _commit_transaction(self, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """End the transaction; give what was committed."""
        if self._transaction is None:
            return {}
        self._transaction.check(ends)
        pinned = self._consume.membership
        slices = self._tape.take(ends)
        self._transaction.commit(slices, self._letters(slices))
        if self._tape.unsettled():  # what was read ahead was read under that membership
            self._consume.membership = pinned
        self._settled(slices)
        return {slice_.lane.partition: slice_.end for slice_ in slices}
