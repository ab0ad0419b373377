"""What the suites of the outbox share: writers whose transactions commit or not, and relays.

Rows are numbered by key. A topic that was read to its end says everything: what is published twice
stands there twice, what overtook something stands before it.
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

import eos
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.into_kit import url
from tests.integration.processes import Worker

KEYS = 9
LARGE = 3000
"""Bytes: more than a topic with `max_message_bytes="2000"` takes."""
QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
"""A death is soon noticed."""


@dataclass
class Shop:
    """A database whose transactions tell of themselves in a topic.

    Attributes:
        cluster: Where the topic is.
        topic: The topic.
        engine: The database.
        seed: Of what is written; printed.
        narrow: A topic that takes none of its messages, for they are too large; one in eight goes
            there. Empty: none does.
        rolled_back: How many of the transactions are rolled back.
        written: The ids of committed messages, by key, in the order of the commits.
        undone: The ids of those that were rolled back.
        doomed: The ids of committed messages that their topic will not take.
    """

    cluster: Cluster
    topic: str
    engine: Engine
    seed: int
    narrow: str = ""
    rolled_back: float = 0.2
    written: dict[str, list[str]] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    doomed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        print(f"seed {self.seed}")  # noqa: T201 pytest shows it for a test that failed
        self.chance = random.Random(self.seed)
        self.outbox = eos.Outbox(self.engine)
        self._count = 0

    def write(self, transactions: int) -> None:
        """Make so many transactions, of one to four messages each."""
        for _ in range(transactions):
            keys = [f"key-{self.chance.randrange(KEYS)}" for _ in range(self.chance.randint(1, 4))]
            self.commit(keys) if self.chance.random() >= self.rolled_back else self.undo(keys)

    def commit(self, keys: list[str]) -> None:
        """Add a message for each of these keys, in one transaction."""
        with self.engine.begin() as db:
            added = [(key, self.add(db, key)) for key in keys]
            doomed = [self.add_large(db)] if self.narrow and not self.chance.randrange(8) else []
        self.doomed += doomed
        for key, name in added:
            self.written.setdefault(key, []).append(name)

    def undo(self, keys: list[str]) -> None:
        """Add messages in a transaction that is rolled back."""
        with self.engine.connect() as db:
            self.undone |= {self.add(db, key) for key in keys}
            db.rollback()

    def add(self, db: Any, key: str) -> str:
        """Add a message to a transaction."""
        self._count += 1
        return self.outbox.add(db, self.topic, f"of {key}", key=key, id=f"id-{self._count}")

    def add_large(self, db: Any) -> str:
        """Add a message that its topic will not take."""
        self._count += 1
        key = f"key-{self.chance.randrange(KEYS)}"
        return self.outbox.add(db, self.narrow, "x" * LARGE, key=key, id=f"id-{self._count}")

    def waiting(self) -> int:
        """Tell how many rows wait, or are recorded and not marked yet."""
        with self.engine.connect() as db:
            rows = db.execute(text("SELECT count(*) FROM eos_outbox")).scalar() or 0
            recorded = db.execute(
                text("SELECT count(*) FROM eos_outbox_shards WHERE recorded <> ''")
            ).scalar()
        return int(rows) + int(recorded or 0)

    def is_published(self) -> bool:
        """Tell whether the outbox is empty."""
        return self.waiting() == 0

    def await_published(self, seconds: float = 2 * SECONDS) -> None:
        """Wait until the outbox is empty."""
        if not wait_until(self.is_published, seconds=seconds, every=0.1):
            raise AssertionError(f"{self.waiting()} rows are still in the outbox")

    def found(self) -> dict[str, list[str]]:
        """Read the topic: ids by key, in order."""
        found: dict[str, list[str]] = {}
        for message in self.cluster.read_committed(self.topic):
            key, name = message.key(), dict(message.headers() or [])["message-id"]
            assert isinstance(key, bytes)
            assert isinstance(name, bytes)
            found.setdefault(key.decode(), []).append(name.decode())
        return found

    def assert_exact(self) -> None:
        """See that what committed was published once, and in order; or is dead, if it is to be."""
        found = self.found()
        counts = Counter(name for names in found.values() for name in names)
        written = {name for names in self.written.values() for name in names}
        lost = sorted(written - counts.keys())
        twice = {name: count for name, count in counts.items() if count > 1}
        strange = sorted(counts.keys() - written)
        assert (lost, twice, strange) == ([], {}, []), f"{lost=} {twice=} {strange=}"
        assert found == self.written  # the order of each key
        with self.engine.connect() as db:
            dead = db.execute(text("SELECT message_id FROM eos_outbox_dead")).scalars().all()
        assert sorted(dead) == sorted(self.doomed)


@dataclass
class RelayProcess(Worker):
    """A slot that processes of `outbox_worker.py` fill, one after the other."""

    def relay(self, at: int = 0, where: str = "", action: str = "kill") -> None:
        """Start a relay, that dies or stops at its n-th step, or the n-th one of a name."""
        self.launch(
            "tests.integration.outbox_worker",
            {
                "settings": self.settings,
                "diary": str(self.diary),
                "database": self.into,
                "broken": self.broken,
                "at": at,
                "where": where,
                "gate": str(self.diary.with_suffix(".gate")),
                "action": action,
            },
        )

    def await_up(self) -> None:
        """Wait until its process can be asked to stop."""
        up = wait_until(
            lambda: any(note["pid"] == self.pid for note in self.notes("up")), seconds=SECONDS
        )
        assert up, self.told()

    @property
    def pid(self) -> int:
        """The process that it has now, or had last."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there; one that is stopped is."""
        return self.process is not None and self.process.poll() is None

    def shards(self) -> set[int]:
        """Give the shards that its process tends now."""
        ours: set[int] = set()
        for note in self.all_notes():
            if note["pid"] == self.pid:
                (ours.add if note["what"] == "ShardOpened" else ours.discard)(note["shard"])
        return ours

    def all_notes(self) -> list[dict[str, Any]]:
        """Give the notes that tell which shards it has, in order."""
        names = ("ShardOpened", "ShardStopped", "ShardClosed")
        notes = [note for name in names for note in self.notes(name)]
        return sorted(notes, key=lambda note: note["number"])


@contextmanager
def slots(
    shop: Shop, brokers: str, namespace: str, folder: Path, count: int = 1, **kafka: Any
) -> Iterator[list[RelayProcess]]:
    """Give places for relays that take five rows at a time."""
    settings = {
        "group": f"{namespace}.relay",
        "namespace": namespace,
        "brokers": brokers,
        "batch_records": 5,
        "kafka": kafka or QUICK,
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                RelayProcess(settings, "", "", folder / f"relay-{n}", into=url(shop.engine))
            )
            for n in range(count)
        ]
