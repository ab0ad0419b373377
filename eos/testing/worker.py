"""One worker: the app's real line on ports in memory, in the caller's thread."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, cast

from eos.core.events import Event, Lived, Waiting
from eos.core.ports import Effects, Inbox, Ledger, Ports
from eos.core.record import Message, Record
from eos.core.settings import Settings
from eos.handle import Step
from eos.testing.clock import Clock
from eos.testing.memory import MemoryKafka, MemoryLog, MemoryReader, MemoryTopics
from eos.testing.memory.transactions import MemoryTransactions
from eos.testing.notes import Notes, Witness
from eos.testing.wires import HANDLER, Inline, Wires


class Worker:
    """A line that is taken along turn by turn.

    Args:
        settings: The app's.
        steps: The app's.
        slot: Its number: workers of one slot fence each other.
        kafka: What it reads and writes.
        ledger: What it asks.
        clock: What it lives by.
        wires: What happens at its calls.
        notes: Where it writes down what happened.
    """

    def __init__(
        self,
        settings: Settings,
        steps: Sequence[Step],
        *,
        slot: int,
        kafka: MemoryKafka,
        ledger: Ledger,
        clock: Clock,
        wires: Wires,
        notes: Notes,
    ) -> None:
        # Here, because it loads the servers' libraries: pytest loads our plugin whenever it runs.
        from eos.build import line  # noqa: PLC0415
        from eos.stores.sql.inbox import SqlInbox  # noqa: PLC0415

        self._kafka = kafka
        self._transactional_id = settings.transactional_id(slot)
        self._wires = wires
        self._notes = notes
        self._reader = _Reader(kafka)
        self._busy = False
        self._prepared = False
        witness = cast("Ledger", Witness(ledger, notes))
        transactions = MemoryTransactions(kafka, self._transactional_id)
        ports = Ports(
            reader=wires.port("reader", self._reader),
            topics=wires.port("topics", MemoryTopics(kafka)),
            log=lambda: wires.port("log", MemoryLog(kafka)),
            ledger=wires.port("ledger", witness),
            transactions=wires.port("transactions", transactions),
            publish=kafka.publish,
            inbox=lambda into: wires.port("inbox", cast("Inbox", _Inbox(SqlInbox(into), wires))),
        )
        watched = [replace(step, handler=self._watched(step)) for step in steps]
        self._line = line(settings, watched, ports, self._told, clock=clock, beside=Inline)

    def turn(self) -> bool:
        """Take one batch along the line; with nothing to read, settle what was handled.

        Returns:
            False if nothing is left to do at this time.
        """
        self._busy = self._reader.read = False
        if not self._prepared:
            self._prepared = True
            self._line.attempt(self._noticed(self._line.settle.prepare))
        self._line.attempt(self._noticed(self._line.turn))
        if not (self._busy or self._reader.read):
            self._line.attempt(self._noticed(self._line.settle.finish))
        return self._busy or self._reader.read

    def drained(self) -> bool:
        """Tell whether everything was read, after a turn that had nothing to do."""
        return self._reader.drained()

    def close(self) -> None:
        """Leave the group."""
        self._line.settle.close()
        self._line.consume.close()

    def bury(self) -> None:
        """Let the group take it for dead. It closes nothing and tells nobody."""
        self._kafka.leave(self._reader)

    def give_up_for_dead(self) -> None:
        """Let the group, and the broker, give up on it while it is held up."""
        self.bury()
        self._kafka.expire(self._transactional_id)

    def _noticed(self, work: Callable[[], Any]) -> Callable[[], None]:
        """Notice that a piece of work failed: there will be more to do."""

        def noticed() -> None:
            try:
                work()
            except Exception:
                self._busy = True
                raise

        return noticed

    def _told(self, event: Event) -> None:
        self._notes.events.append(event)
        self._busy |= not isinstance(event, Waiting | Lived)

    def _watched(self, step: Step) -> Callable[..., Any]:
        """Note what the handler gets, before it gets it."""
        call = self._wires.around("", HANDLER, step.handler)

        @wraps(step.handler)
        def watched(given: Any, *db: Any) -> Any:
            records: list[Record] = given if step.batch else [given]
            self._notes.hand_out(records)
            return call(given, *db)

        return watched


class _Inbox:
    """An inbox whose transactions are felt, too."""

    def __init__(self, inbox: Inbox, wires: Wires) -> None:
        self._inbox = inbox
        self._wires = wires

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)

    def begin(self) -> Effects:
        return self._wires.port("effects", self._inbox.begin())


class _Reader(MemoryReader):
    """A reader that does not wait.

    Attributes:
        read: Whether something was read.
    """

    read = False

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:  # noqa: ARG002 time is turned by hand
        found = super().poll(limit, 0)
        self.read |= bool(found)
        return found

    def drained(self) -> bool:
        """Tell whether it has joined, and all partitions flow and were read to their ends."""
        return bool(self.topics) and self._flowing == self._assigned.keys() and not self.has_news()
