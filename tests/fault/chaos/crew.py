"""The workers of a chaos: three that stay, and a guest that comes and goes."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from eos.devstack.waiting import wait_until
from eos.observe import shared
from eos.workers import Pool
from eos.workers.pool import Exited, PoolEvent
from tests.fault.chaos.worker import Order

WORKERS = 3
HOME = "home"
GUEST = "guest"
TARGET = "tests.fault.chaos.worker:app"
_GUEST_DRAINS_SECONDS = 8.0
_SECONDS = 60.0


class Crew:
    """Starts workers, moves them, and counts what they counted.

    Args:
        order: What they do.

    Attributes:
        killed: How many ended by a signal.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._log = Path(order.folder) / "workers.log"
        self.killed = 0
        self.starts = 0
        self._pools: list[Pool] = []
        self.home = self._pool(HOME, WORKERS, drains=30.0)
        self._guest: Pool | None = None
        self._leaving = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="crew", daemon=True)

    def start(self) -> None:
        """Start those that stay."""
        self._watching.start()

    @property
    def failure(self) -> str | None:
        """Why a pool stopped by itself, if one did."""
        return next((pool.failure for pool in self._pools if pool.failure), None)

    def pids(self) -> dict[int, int]:
        """Give the process ids of those that stay, by slot."""
        return self.home.pids()

    @property
    def has_guest(self) -> bool:
        """Whether the guest is there."""
        return self._guest is not None

    def invite(self) -> None:
        """Let the guest come."""
        self._guest = self._pool(GUEST, 1, drains=_GUEST_DRAINS_SECONDS)
        self._guest.start()

    def see_off(self) -> None:
        """Let the guest leave in order; one that hangs is killed."""
        if self._guest is not None:
            self._guest.stop()
            self._guest = None

    def replace(self, slot: int) -> int:
        """Let a worker drain, and give the process id of its successor."""
        before = self.pids()[slot]
        os.kill(before, signal.SIGTERM)
        assert wait_until(
            lambda: self.pids().get(slot, before) != before or bool(self.failure), seconds=_SECONDS
        ), f"worker {slot} does not leave"
        assert not self.failure, self.failure
        return self.pids()[slot]

    def stop(self) -> bool:
        """Let all drain.

        Returns:
            True if they did, and none had to be killed.
        """
        self.see_off()
        self._leaving.set()
        self._watching.join()
        return self.home.stop()

    def total(self, name: str, **labels: str) -> int:
        """Sum a metric over all workers that ever were."""
        return int(sum(shared.total(pool.metrics_folder, name, **labels) for pool in self._pools))

    def close(self) -> None:
        """Leave nothing behind."""
        self._leaving.set()
        for pid in self._all_pids():
            os.kill(pid, signal.SIGKILL)
        for pool in self._pools:
            pool.close()

    def _all_pids(self) -> Iterator[int]:
        for pool in self._pools:
            yield from pool.pids().values()

    def _pool(self, instance: str, workers: int, *, drains: float) -> Pool:
        pool = Pool(
            TARGET,
            workers,
            drain_seconds=drains,
            environment={**self._order.environment, "EOS_INSTANCE": instance},
            output=self._log,
            tell=self._told,
        )
        self._pools.append(pool)
        return pool

    def _watch(self) -> None:
        self.home.watch(self._leaving.is_set)

    def _told(self, event: PoolEvent) -> None:
        if isinstance(event, Exited):
            self.killed += event.code < 0
        else:
            self.starts += 1
