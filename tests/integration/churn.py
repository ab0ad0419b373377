"""A group that never comes to rest: workers come and go while records come in."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle

from eos.core.record import Record
from eos.devstack.waiting import wait_until
from tests.fault.rows import LONG
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.lines import Running

PAUSE = 0.5 if LONG else 0.2
"""Between two packets of records: they shall come in all the time, not at once."""


@dataclass
class Effects:
    """What handlers did, in the order in which they did it, whichever worker it was."""

    done: list[Record] = field(default_factory=list)

    def __call__(self, record: Record) -> None:
        """Have the effect: a handler."""
        self.done.append(record)

    @property
    def ids(self) -> list[str]:
        """The records' ids."""
        return [(record.value or b"").decode() for record in self.done]

    @property
    def in_doubt(self) -> list[str]:
        """Those that were flagged."""
        return [str(record.position) for record in self.done if record.in_doubt]

    def backwards(self) -> list[str]:
        """Give the effects that came behind those of a later record of their partition."""
        highest: dict[int, int] = {}
        found = []
        for record in self.done:
            if record.offset <= highest.get(record.partition, -1):
                found.append(str(record.position))
            highest[record.partition] = record.offset
        return found


@dataclass
class Churn:
    """Runs workers: the first one stays, the others come and go about every second.

    Attributes:
        worker: Makes the line of a slot.
        cluster: Where the records go.
        source: The topic to read.
        lines: All lines that ran.
    """

    worker: Callable[[int], Running]
    cluster: Cluster
    source: str
    lines: list[Running] = field(default_factory=list)

    def run(self, inputs: Sequence[Input], group: str) -> None:
        """Send all, keep the group moving until then, and wait until all is settled."""
        feeder = threading.Thread(target=self._feed, args=(inputs,), daemon=True)
        with ExitStack() as staying:
            self._start(staying, 0)
            feeder.start()
            guest = ExitStack()
            for slot in cycle([1, 2]):
                following = ExitStack()
                self._start(following, slot)
                guest.close()
                guest = following
                feeder.join(1.0)
                if not feeder.is_alive():
                    break
            with guest:
                self.cluster.await_settled(group, self.source)

    def _start(self, stack: ExitStack, slot: int) -> None:
        """Start a worker, and wait until it has something to do."""
        line = stack.enter_context(self.worker(slot))
        self.lines.append(line)
        # It may find all partitions taken, where they change hands one by one.
        wait_until(lambda: bool(line.partitions()) or line.error is not None, seconds=SECONDS / 3)
        assert line.error is None, line.told()

    def _feed(self, inputs: Sequence[Input]) -> None:
        for start in range(0, len(inputs), 40):
            self.cluster.send(self.source, inputs[start : start + 40])
            time.sleep(PAUSE)
