"""What an app runs on, and the one worker that is at work there."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from eos.core.events import Lived
from eos.core.ports import Ledger
from eos.core.settings import Settings
from eos.handle import Step
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.clock import Clock
from eos.testing.memory import MemoryKafka
from eos.testing.notes import Notes
from eos.testing.wires import Died, Wires
from eos.testing.worker import Worker

_TURNS = 100_000
_CALM = 10_000  # turns of up to a second: far longer than any pause of a line
_SHORTEST, _LONGEST = 0.001, 1.0
_GENERATIONS = 24


class Application(Protocol):
    """What can be run: an `eos.App`, or whatever has settings and steps."""

    @property
    def settings(self) -> Settings:
        """How the line runs. Servers that are named here are not contacted."""

    @property
    def steps(self) -> Sequence[Step]:
        """The handlers."""


class StuckError(AssertionError):
    """The line goes on and on, and does not settle what was sent."""


class Stage:
    """Topics, a ledger, a clock, and a worker, or its successor.

    Attributes:
        settings: The app's.
        steps: The app's.
        sources: The topics that it reads.
        clock: What the app lives by.
        kafka: The topics.
        ledger: The ledger.
        wires: What happens at coming calls.
        notes: What happened.
        crashes: How many workers have died.
    """

    def __init__(
        self,
        app: Application,
        *,
        ledger: Ledger | None,
        partitions: int | Mapping[str, int],
        clock: Clock | None,
    ) -> None:
        self.settings = app.settings
        self.steps = tuple(app.steps)
        self.sources = [step.source for step in self.steps]
        self.clock = clock or Clock()
        self._passes = clock is None
        each, counts = (partitions, {}) if isinstance(partitions, int) else (1, partitions)
        topics = {**dict.fromkeys(self.sources, each), **counts}
        self.kafka = MemoryKafka(topics, others=1, clock=self.clock.time)
        self.ledger = ledger or self._ledger()
        self.wires = Wires()
        self.notes = Notes()
        self.crashes = 0
        self._worker: Worker | None = None
        self._slot = 0
        self._working = False

    def work(self) -> None:
        """Go on until all is settled, or, by a clock of the test's, nothing can be done now.

        Raises:
            StuckError: If it does not come to an end.
        """
        if self._working:
            return  # a handler asks for a result, or turns the clock
        self._working = True
        try:
            self._work()
        finally:
            self._working = False

    def drained(self) -> bool:
        """Tell whether all was read and settled, after `work`."""
        return self._worker is not None and self._worker.drained()

    def stop(self) -> None:
        """Let the worker leave; whoever goes on needs a new one."""
        worker, self._worker = self._worker, None
        if worker:
            worker.close()

    def bury(self) -> None:
        """Let the worker be dead."""
        worker, self._worker = self._worker, None
        if worker:
            self.crashes += 1
            worker.bury()

    def overtake(self) -> None:
        """Let another worker do all the work while the one that is at work is held up."""
        if self._worker:
            self._worker.give_up_for_dead()
        self._worker = None
        self._slot += 1
        self._work()

    def _work(self) -> None:
        calm, pause = 0, _SHORTEST
        for turn in range(1, _TURNS + 1):
            if self._turn():
                calm, pause = 0, _SHORTEST
            elif self.drained() or not self._passes:
                return
            elif calm == _CALM:
                raise self._stuck(turn)
            else:
                self.clock.tick(pause := min(2 * pause, _LONGEST))
                calm += 1
        raise self._stuck(_TURNS)

    def _stuck(self, turns: int) -> StuckError:
        news = [event for event in self.notes.events if not isinstance(event, Lived)]
        told = "\n".join(f"  {event}" for event in news[-5:])
        return StuckError(f"what was sent is not settled after {turns} turns; at last:\n{told}")

    def _turn(self) -> bool:
        """Let the worker take a turn, or the next one if it died; True if there may be more."""
        worker = self._worker = self._worker or self._hired()
        try:
            more = worker.turn()
        except Died:
            self.bury()
            return True
        except BaseException:
            self.stop()
            raise
        if worker is not self._worker:  # overtaken
            worker.close()
            return True
        return more

    def _hired(self) -> Worker:
        return Worker(
            self.settings,
            self.steps,
            slot=self._slot,
            kafka=self.kafka,
            ledger=self.ledger,
            clock=self.clock,
            wires=self.wires,
            notes=self.notes,
        )

    def _ledger(self) -> Ledger:
        window = self.settings.window_seconds
        # Short generations: what is older than the window is forgotten soon after.
        return MemoryLedger(window, generation=window // _GENERATIONS or 1, clock=self.clock.time)
