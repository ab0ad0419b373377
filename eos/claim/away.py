"""What a line does while its ledger is away, other than to pause: two choices, as ledgers."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from eos.core import rules
from eos.core.errors import FatalError, RetriableError
from eos.core.ports import (
    Assertion,
    Claimed,
    Claims,
    Clock,
    Known,
    Ledger,
    Mark,
    Recovery,
    Refused,
    Taken,
)
from eos.core.record import Shard
from eos.core.rules import Admission, Verdict

T = TypeVar("T")

UNCHECKED = ""
"""The seal of claims that no ledger was asked about."""
UNKNOWN = -1
"""What is said to be claimed of a partition that was taken over without the ledger."""

_LEAST_PAUSE = 1.0
_PAUSE_FACTOR = 4.0  # so that at most a fifth of the time is spent on a server that hangs


def when_away(policy: str, ledger: Ledger, clock: Clock = time) -> Ledger:
    """Give a ledger that does what `Settings.ledger_down` says while it is away.

    Args:
        policy: `pause`, `pass_through` or `fail`.
        ledger: The ledger.
        clock: Tells the time.
    """
    if policy == "pass_through":
        return PassThrough(ledger, clock)
    return Fail(ledger) if policy == "fail" else ledger


class Around:
    """A `Ledger` around another one, which it asks.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over."""
        return self._ledger.take(shard, partitions)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records."""
        return self._ledger.claim(shard, batch)

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal is still the one that claims were made under."""
        return self._ledger.confirm(shard, seal)

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Note that records may begin."""
        return self._ledger.begin(shard, seal, mark)

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on."""
        return self._ledger.settle(shard, seal, marks)

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        """Take floors, and what has begun, back."""
        return self._ledger.rewind(shard, marks)

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        """Note that nothing is delivered any more somewhere."""
        return self._ledger.void(shard, mark, start)

    def unseal(self, shard: Shard) -> None:
        """Let nobody claim before the shard was recovered."""
        self._ledger.unseal(shard)

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        """Take, or hold on to, what is to be recovered."""
        return self._ledger.lock(shard, token, seconds, partitions)

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back."""
        return self._ledger.reassert(shard, recovery, assertion)

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        """Seal the shard anew."""
        return self._ledger.open(shard, recovery, frontiers, begun, partitions)

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        """Tell how far partitions have come in log time."""
        return self._ledger.advance(shard, frontier_times, partitions)

    def close(self) -> None:
        """Give the connections back."""
        self._ledger.close()


class PassThrough(Around):
    """Lets records through unchecked while the ledger is away: `ledger_down="pass_through"`.

    Re-sends are not recognised meanwhile. What is claimed here has no seal (`UNCHECKED`), and
    nothing of it is written anywhere. When the ledger is back, what it says was claimed lags
    behind: the next claim finds a gap, and recovery reads from the log again what is missing. A
    transaction with claims of both kinds is aborted, as one with two seals is.

    A server that hangs is not asked for each batch: it would cost a time-out each time.

    Args:
        ledger: The ledger.
        clock: Tells the time.
    """

    def __init__(self, ledger: Ledger, clock: Clock = time) -> None:
        super().__init__(ledger)
        self._clock = clock
        self._away_until = 0.0
        self._last_epoch = 0

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over; without the ledger, under epochs of the local clock.

        Those are fenced, or fence, as clocks will have it: a predecessor is not, but Kafka's own
        fencing stays on. Nothing is known of what was claimed, settled or begun (`UNKNOWN`).
        """
        return self._ask(
            lambda: super(PassThrough, self).take(shard, partitions),
            lambda: {p: Taken(self._epoch(), UNKNOWN, 0) for p in partitions},
        )

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records; without the ledger, nobody owns anything."""
        return self._ask(
            lambda: super(PassThrough, self).claim(shard, batch), lambda: _unchecked(batch)
        )

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal holds; there is nothing to confirm of what was not claimed."""
        return seal == UNCHECKED or super().confirm(shard, seal)

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Note that records may begin, unless nobody was asked about them."""
        return seal == UNCHECKED or super().begin(shard, seal, mark)

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on; those of what nobody was asked about stand in Kafka alone."""
        return Admission.OPEN if seal == UNCHECKED else super().settle(shard, seal, marks)

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        """Tell how far partitions have come; later, if the ledger is away."""
        return self._ask(
            lambda: super(PassThrough, self).advance(shard, frontier_times, partitions),
            lambda: 0,
        )

    def _ask(self, ledger: Callable[[], T], otherwise: Callable[[], T]) -> T:
        began = self._clock.monotonic()
        if began < self._away_until:
            return otherwise()
        try:
            return ledger()
        except RetriableError as error:
            if error.on != "ledger":
                raise
            now = self._clock.monotonic()
            self._away_until = now + max(_LEAST_PAUSE, _PAUSE_FACTOR * (now - began))
            return otherwise()

    def _epoch(self) -> int:
        now_us = int(self._clock.time() * 1_000_000)
        self._last_epoch = rules.next_epoch(self._last_epoch, now_us)
        return self._last_epoch


class Fail(Around):
    """Stops while the ledger is away: `ledger_down="fail"`."""

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over."""
        with _failing():
            return super().take(shard, partitions)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records."""
        with _failing():
            return super().claim(shard, batch)

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal is still the one that claims were made under."""
        with _failing():
            return super().confirm(shard, seal)

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Note that records may begin."""
        with _failing():
            return super().begin(shard, seal, mark)

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on."""
        with _failing():
            return super().settle(shard, seal, marks)

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        """Take, or hold on to, what is to be recovered."""
        with _failing():
            return super().lock(shard, token, seconds, partitions)


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except RetriableError as error:
        raise FatalError(
            f"the ledger is away, and ledger_down='fail' says to stop: {error}. What was not "
            "settled is handled by the next worker; 'pause' would wait, 'pass_through' go on"
        ) from error


def _unchecked(batch: Sequence[Claims]) -> Claimed:
    verdicts = [
        Verdict.SETTLED if offset < claims.frontier else Verdict.FRESH
        for claims in batch
        for offset in claims.offsets
    ]
    known = {claims.partition: Known(claims.frontier, 0) for claims in batch}
    return Claimed(UNCHECKED, verdicts, {}, known)
