"""Relays of one shard that do not know of each other: they die, sleep, and are lied to.

The line is the real one (`eos.outbox.ShardLine`); its ports are a database and a broker in memory.
Each call of a port is a place where anybody else may act, and where a relay may die: one thread
runs at a time, and the history says which. No group keeps relays apart: all believe that they have
the shard.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eos.core.errors import AbortableError, EosError, FencedError, RetriableError
from eos.core.outbox import Progress, Row, ShardPosition, position_of
from eos.outbox import ShardLine
from eos.testing.memory.broker import Broker
from eos.testing.memory.log import MemoryTopics
from eos.testing.memory.transactions import MemoryTransactions

T = TypeVar("T")
TOPIC, POSITIONS = "topic", "positions"
KEYS = ("a", "b", "c")
LONGEST = 400
_FATES = (("fine", 90), ("request lost", 4), ("answer lost", 4), ("dies", 2))


class Died(BaseException):
    """The process is gone: nothing of it goes on, not even what `finally` says."""


@dataclass
class Database:
    """Rows, and what is known of the shard. Every method is one transaction."""

    compares: bool = True
    hasty: bool = False  # records a batch while the one before is unsent
    rows: dict[int, Row] = field(default_factory=dict)
    known: Progress = field(default_factory=lambda: Progress(0, 0))
    ids: int = 0
    batches: int = 0

    def change(self, known: Progress, sent: int, recorded: Sequence[int]) -> Progress:
        """Write what is known, if that is what it is thought to be."""
        if self.compares and known.version != self.known.version:
            raise AbortableError("changed meanwhile", "outbox_fenced")
        same = sent == known.sent and tuple(recorded) == known.recorded
        self.batches += not same
        batch = known.batch if same else self.batches
        self.known = Progress(self.known.version + 1, sent, tuple(recorded), batch)
        return self.known


class MemoryRows:
    """A `Rows`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def progress(self) -> Progress:
        return self._db.known

    def rows(self, ids: Sequence[int]) -> list[Row]:
        return [self._db.rows[each] for each in sorted(ids) if each in self._db.rows]

    def record(
        self, known: Progress, limit: int, *, published: bool
    ) -> tuple[Progress, Sequence[Row]]:
        if known.recorded and not published and not self._db.hasty:
            return known, self.rows(known.recorded)
        gone = set(known.recorded)
        found = [each for each in sorted(self._db.rows) if each not in gone][:limit]
        if not known.recorded and not found:
            return known, ()
        now = self._db.change(known, known.sent + bool(gone), found)
        for each in gone:
            self._db.rows.pop(each, None)
        return now, self.rows(found)

    def narrow(self, known: Progress, ids: Sequence[int]) -> Progress:
        return self._db.change(known, known.sent, ids)

    def bury(self, known: Progress, reasons: Mapping[int, str]) -> Progress:
        raise AssertionError(f"nothing is unfit here: {known} {reasons}")

    def wait(self, seconds: float) -> bool:
        return not seconds

    def forget(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Acts:
    """A thread that runs from one call of a port to the next, when it is told to."""

    def __init__(self, work: Callable[["Acts"], None]) -> None:
        self.over = False
        self.sleeps = 0  # turns of the world
        self.failure: EosError | None = None
        self._go, self._gone = threading.Semaphore(0), threading.Semaphore(0)
        self._dies = False
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def step(self, *, dies: bool = False) -> None:
        """Let it go on to its next call."""
        self._dies = dies
        self._go.release()
        self._gone.acquire()

    def pause(self) -> None:
        """Let others act. Called in its thread."""
        self._gone.release()
        self._go.acquire()
        if self._dies:
            raise Died

    def _run(self, work: Callable[["Acts"], None]) -> None:
        self._go.acquire()
        try:
            if not self._dies:
                work(self)
        except Died:
            pass
        except EosError as error:
            self.failure = error
        finally:
            self.over = True
            self._gone.release()


class Calls:
    """A port, each call of which is a step, and may be lost, or its answer."""

    def __init__(self, port: Any, methods: Sequence[str], acts: Acts, chance: Any) -> None:
        self._port, self._methods, self._acts, self._chance = port, methods, acts, chance

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wrapped(name, found) if name in self._methods else found

    def _wrapped(self, name: str, method: Callable[..., T]) -> Callable[..., T | bool]:
        def call(*args: Any, **kwargs: Any) -> T | bool:
            self._acts.pause()
            names, weights = zip(*_FATES, strict=True)
            fate = self._chance.choices(names, weights)[0]
            if fate == "dies":
                raise Died
            if fate == "request lost":
                return self._lost(name)
            answer = method(*args, **kwargs)
            self._acts.pause()
            return self._lost(name) if fate == "answer lost" else answer

        return call

    def _lost(self, name: str) -> bool:
        if name == "commit":
            return False  # nobody can say: that is an answer of this port
        raise RetriableError(f"no answer to {name}")


class World:
    """One history.

    Args:
        seed: Of all that is left to chance.
        without: The protection that is left out; empty: none.
    """

    def __init__(self, seed: int, without: str = "") -> None:
        self.chance = random.Random(seed)
        self.without = without
        self.db = Database(without != "compare", without == "unsent")
        self.kafka = Broker({TOPIC: 1, POSITIONS: 1})
        self.written: dict[str, list[str]] = {key: [] for key in KEYS}
        self.open: dict[str, list[Row]] = {}  # transactions of writers, by the key they hold
        self.relays: list[Acts] = []
        self.failures: list[EosError] = []
        self._named = 0

    def run(self) -> str:
        """Live through it; give what is wrong in the end, or nothing."""
        for _ in range(self.chance.randrange(40, LONGEST)):
            self._act()
        for key in list(self.open):
            self._end(key, commits=True)
        for relay in self.relays:
            relay.step(dies=True)
        self._expire()  # of the dead; who has no one id for all would wait for them for ever
        for _ in range(50):  # a last one, that nobody disturbs, but calls may still fail
            if not self.db.rows and not self.db.known.recorded:
                break
            last = self._relay()
            for _ in range(200):
                if last.over or (not self.db.rows and not self.db.known.recorded):
                    break
                last.step()
            self._note(last)
            last.step(dies=True) if not last.over else None
        return self._wrong()

    def _act(self) -> None:
        chance = self.chance.random()
        if chance < 0.12:
            self._write()
        elif chance < 0.13:
            self._expire()
        elif chance < 0.17 and len(self.relays) < 3:
            self.relays.append(self._relay())
        elif self.relays:
            relay = self.chance.choice(self.relays)
            if relay.sleeps:
                relay.sleeps -= 1
                return
            if self.chance.random() < 0.02:
                relay.sleeps = self.chance.randrange(10, 60)
            relay.step(dies=self.chance.random() < 0.01)
            if relay.over:
                self.relays.remove(relay)
                self._note(relay)

    def _expire(self) -> None:
        """Let the broker end all that is open, as it does with what is open for too long."""
        for number in range(self._named + 1):
            self.kafka.expire(self._id(number))

    def _id(self, number: int) -> str:
        return f"relay-{number}" if self.without == "fencing" else "relay"

    def _note(self, relay: Acts) -> None:
        if relay.failure is not None and not isinstance(relay.failure, FencedError):
            self.failures.append(relay.failure)

    def _write(self) -> None:
        """Begin or end a transaction that adds rows; it holds its key until its end."""
        key = self.chance.choice(KEYS)
        if key in self.open:
            self._end(key, commits=self.chance.random() < 0.8)
            return
        self.open[key] = []
        for _ in range(self.chance.randint(1, 3)):
            self.db.ids += 1
            name = f"{key}{self.db.ids}"
            headers = [("message-id", name.encode())]
            row = Row(self.db.ids, TOPIC, key.encode(), name.encode(), headers, 0.0)
            self.open[key].append(row)

    def _end(self, key: str, *, commits: bool) -> None:
        rows = self.open.pop(key)
        if commits:
            self.db.rows |= {row.id: row for row in rows}
            self.written[key] += [(row.value or b"").decode() for row in rows]

    def _relay(self) -> Acts:
        return Acts(self._tend)

    def _tend(self, acts: Acts) -> None:
        """Do what `eos.outbox.tender` does, without waiting."""
        self._named += 1
        transactions = MemoryTransactions(self.kafka, self._id(self._named))
        calls = ("prepare", "begin", "produce", "send_offsets", "commit", "settle_unknown")
        reads = ("progress", "rows", "record", "narrow")
        line = (Blind if self.without == "position" else ShardLine)(
            0,
            rows=Calls(MemoryRows(self.db), reads, acts, self.chance),
            transactions=Calls(transactions, calls, acts, self.chance),
            position=self._position(acts),
            membership=lambda: self.kafka.generation,
            at=(POSITIONS, 0),
            topics=MemoryTopics(self.kafka),
            limit=2,
            max_bytes=10_000,
            emit=lambda _: None,
        )
        while True:
            try:
                line.open()
                while True:
                    line.turn()
            except (AbortableError, RetriableError):
                line.abort()
                acts.pause()

    def _position(self, acts: Acts) -> Callable[[], ShardPosition | None]:
        def read() -> ShardPosition | None:
            acts.pause()
            return position_of(self.kafka.frontiers([(POSITIONS, 0)])[POSITIONS, 0])

        return read

    def _wrong(self) -> str:
        found: dict[str, list[str]] = {key: [] for key in KEYS}
        for message in self.kafka.messages(TOPIC):
            found[message.key().decode()].append(message.value().decode())
        if self.failures:
            return f"refused: {self.failures[0]}"
        if self.db.rows or self.db.known.recorded:
            return f"left: {sorted(self.db.rows)}, {self.db.known}"
        return "" if found == self.written else f"written {self.written}, found {found}"


class Blind(ShardLine):
    """Does not look what Kafka knows."""

    def open(self) -> None:
        self._transactions.settle_unknown()
        self._known = self._rows.progress()
        self._published = False
