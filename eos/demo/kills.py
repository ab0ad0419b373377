"""Kills workers, at moments that count.

A worker is stopped first, so that what it holds can be read while it holds it; only one that
holds claimed, unsettled records is killed, with SIGKILL. The plain loop's worker of the same
number dies at the same moment.
"""

import os
import random
import signal
from dataclasses import dataclass

from eos.observe import shared
from eos.workers import Pool


@dataclass(frozen=True, slots=True)
class Kill:
    """One that counted.

    Attributes:
        at: Seconds since the start of the run.
        slot: Which worker.
        records: How many claimed, unsettled records it held.
        committing: Whether it was inside a transaction; None if it does not tell.
    """

    at: float
    slot: int
    records: int
    committing: bool | None

    def __str__(self) -> str:
        """Say it in a line."""
        during = {True: " during a commit", False: " between commits", None: ""}[self.committing]
        return (
            f"{self.at:5.1f} s  worker {self.slot} killed{during}, "
            f"holding {self.records} claimed, unsettled records"
        )


class Killer:
    """Kills as often as planned, spread at random over the run.

    Args:
        pool: The eos workers.
        plain: The workers of the plain loop.
        kills: How often.
        in_commit: How many of them must fall into a commit; None where workers do not tell.
        seconds: How long the run is.
        seed: Of the moments and the victims.
    """

    def __init__(
        self, pool: Pool, plain: Pool, kills: int, in_commit: int | None, seconds: float, seed: int
    ) -> None:
        self._random = random.Random(seed)
        self._pool = pool
        self._plain = plain
        # One in each even stretch of the middle of the run: there is always room to recover.
        stretch = seconds * 0.9 / max(kills, 1)
        self._moments = [
            seconds * 0.08 + stretch * (n + self._random.random() * 0.7) for n in range(kills)
        ]
        chosen = set(self._random.sample(range(kills), min(in_commit or 0, kills)))
        self._tells = in_commit is not None
        self._in_commit = [number in chosen for number in range(kills)]
        self.done: list[Kill] = []

    @property
    def pending(self) -> bool:
        """Whether a kill is still to come."""
        return len(self.done) < len(self._moments)

    def step(self, now: float) -> Kill | None:
        """Try to kill, if it is time; call it again and again.

        Args:
            now: Seconds since the start of the run.
        """
        number = len(self.done)
        if not self.pending or now < self._moments[number]:
            return None
        pids = self._pool.pids()
        if not pids:
            return None
        slot = self._random.choice(sorted(pids))
        held = self._hold(pids[slot])
        if not held.records or (self._in_commit[number] and not held.committing):
            os.kill(pids[slot], signal.SIGCONT)
            return None
        os.kill(pids[slot], signal.SIGKILL)
        if victim := self._plain.pids().get(slot):
            os.kill(victim, signal.SIGKILL)
        kill = Kill(now, slot, held.records, held.committing if self._tells else None)
        self.done.append(kill)
        return kill

    def _hold(self, pid: int) -> shared.Held:
        """Stop a worker, and read what it holds: nothing, if it is dead and not buried yet."""
        os.kill(pid, signal.SIGSTOP)
        # It must be seen to be stopped, or it could settle while we read.
        state = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if state is None or state.si_code != os.CLD_STOPPED:
            return shared.Held(0, committing=False)
        return shared.held(self._pool.metrics_folder, pid)
