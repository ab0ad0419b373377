"""What the suites of `into=` share: a bank, and the processes that move its money.

The journal is only added to, and has no constraint: what is done twice stands there twice.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, text

from eos.db import create as create_tables
from eos.db import engine_of
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.processes import Worker

ACCOUNTS, EACH = 5, 1000
COPIES = 1 / 3


@dataclass
class Bank:
    """A topic of transfers, and a database with what has become of them.

    Attributes:
        cluster: Where the topic is.
        source: The topic.
        group: Who reads it.
        engine: The database.
        seed: Of the transfers; printed.
        partitions: How many the topic has.
        copies: How many of the transfers are sent again, at another position.
        across: Whether copies stand on other partitions, too.
        sent: The ids of all transfers, and where each was sent last.
        expected: What the accounts must hold.
        records: The id of each record, by partition, in order.
    """

    cluster: Cluster
    source: str
    group: str
    engine: Engine
    seed: int
    partitions: int = 2
    copies: float = COPIES
    across: bool = True
    sent: list[str] = field(default_factory=list)
    expected: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(ACCOUNTS), EACH))
    records: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        print(f"seed {self.seed}")  # noqa: T201 pytest shows it for a test that failed
        self.chance = random.Random(self.seed)
        self._orders: dict[str, tuple[int, bytes]] = {}
        _create(self.engine)

    def send(self, count: int) -> None:
        """Send so many new transfers, and copies of any that were sent."""
        inputs = []
        for _ in range(count):
            inputs.append(self._new())
            while self.chance.random() < self.copies:
                inputs.append(self._copy(self.chance.choice(self.sent[-50:])))
        self.put(inputs)

    def put(self, inputs: list[Input]) -> None:
        """Send these records."""
        self.cluster.send(self.source, inputs)
        for each in inputs:
            self.records.setdefault(each.partition, []).append(str(each.id))

    def _new(self) -> Input:
        payer, payee = self.chance.sample(range(ACCOUNTS), 2)
        return self.order(payer, payee, self.chance.randrange(self.partitions))

    def order(self, payer: int, payee: int, partition: int) -> Input:
        """Make a new transfer; who makes one sends it."""
        amount = self.chance.randrange(1, 100)
        self.expected[payer] -= amount
        self.expected[payee] += amount
        name = f"id-{len(self.sent)}"
        value = {"id": name, "from": payer, "to": payee, "amount": amount}
        self.sent.append(name)
        self._orders[name] = (partition, json.dumps(value).encode())
        return Input(name, *self._orders[name])

    def _copy(self, name: str) -> Input:
        partition, _ = self._orders[name]
        if self.across and self.chance.random() < 1 / 2:
            partition = (partition + 1) % self.partitions
        return self.copy(name, partition)

    def copy(self, name: str, partition: int) -> Input:
        """Make a copy of a transfer, at another position."""
        return Input(name, partition, self._orders[name][1])

    def rows(self) -> dict[int, int]:
        """Give the frontier rows."""
        with self.engine.connect() as db:
            found = db.execute(
                text(
                    "SELECT partition, next_offset FROM eos_frontiers "
                    "WHERE consumer_group = :group AND topic = :topic"
                ),
                {"group": self.group, "topic": self.source},
            ).all()
        return {row[0]: row[1] for row in found}

    def is_settled(self) -> bool:
        """Tell whether the rows say that all is settled."""
        rows = self.rows()
        return all(rows.get(each) == len(found) for each, found in self.records.items())

    def await_settled(self, seconds: float = 2 * SECONDS) -> None:
        """Wait until the rows say that all is settled."""
        if not wait_until(self.is_settled, seconds=seconds, every=0.1):
            ends = {each: len(found) for each, found in self.records.items()}
            raise AssertionError(f"not all is settled: {self.rows()} of {ends}")

    def done(self) -> int:
        """Tell how many transfers stand in the journal."""
        with self.engine.connect() as db:
            return int(db.execute(text("SELECT count(*) FROM journal")).scalar() or 0)

    def assert_whole(self) -> None:
        """See, at any moment, that effects and frontiers are of one piece.

        All is read in one statement: there is no moment between.
        """
        with self.engine.connect() as db:
            found = db.execute(
                text(
                    "SELECT id, topic_partition, topic_offset, next_offset FROM journal JOIN "
                    "eos_frontiers ON partition = topic_partition AND consumer_group = :group"
                ),
                {"group": self.group},
            ).all()
        ahead = [row for row in found if row[2] >= row[3]]
        twice = {id_: n for id_, n in Counter(row[0] for row in found).items() if n > 1}
        assert (ahead, twice) == ([], {}), f"{ahead=} {twice=}"

    def assert_exact(self) -> None:
        """See that each transfer was done once, that no money is missing, and all is settled."""
        with self.engine.connect() as db:
            found = Counter(db.execute(text("SELECT id FROM journal")).scalars())
            accounts = {row[0]: row[1] for row in db.execute(text("SELECT * FROM accounts")).all()}
        lost = sorted(set(self.sent) - found.keys())
        twice = {id_: count for id_, count in found.items() if count > 1}
        strange = sorted(found.keys() - set(self.sent))
        assert (lost, twice, strange) == ([], {}, []), f"{lost=} {twice=} {strange=}"
        assert accounts == self.expected
        assert sum(accounts.values()) == ACCOUNTS * EACH
        rows, ends = self.rows(), self.cluster.ends(self.source)
        assert rows == {each: end for each, end in ends.items() if each in rows}
        assert self.is_settled(), (rows, ends)


def _create(engine: Engine) -> None:
    """Make the bank's own tables."""
    with engine.begin() as db:
        db.execute(text("CREATE TABLE accounts (name INTEGER PRIMARY KEY, balance INTEGER)"))
        db.execute(
            text(
                "CREATE TABLE journal (id VARCHAR(50), topic_partition INTEGER, "
                "topic_offset BIGINT, process INTEGER, attempt INTEGER)"
            )
        )
        db.execute(
            text("INSERT INTO accounts VALUES (:name, :balance)"),
            [{"name": name, "balance": EACH} for name in range(ACCOUNTS)],
        )


@contextmanager
def fresh(server_url: str, name: str) -> Iterator[Engine]:
    """Make a database on a PostgreSQL that may go away; what looks at it connects again."""
    admin = create_engine(engine_of(server_url).url, isolation_level="AUTOCOMMIT")
    name = name.replace("-", "_")
    with admin.connect() as db:
        db.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    engine = create_engine(admin.url.set(database=name), pool_pre_ping=True)
    create_tables(engine)
    yield engine
    engine.dispose()


def url(engine: Engine) -> str:
    """Give the database's URL."""
    return engine.url.render_as_string(hide_password=False)


@dataclass
class Teller(Worker):
    """A slot that processes of `into_worker.py` fill, one after the other.

    Attributes:
        batch: Whether the handler takes batches.
        stumbles: Whether the first try of every seventh record fails.
        pause: How long a record takes, in seconds.
    """

    batch: bool = False
    stumbles: bool = False
    pause: float = 0.0

    def serve(self, at: int = 0, where: str = "", action: str = "kill") -> None:
        """Start a process, that dies or stops at its n-th step, or the n-th one of a name."""
        order: dict[str, Any] = {
            "settings": self.settings,
            "source": self.source,
            "slot": self.slot,
            "diary": str(self.diary),
            "into": self.into,
            "broken": self.broken,
            "batch": self.batch,
            "stumbles": self.stumbles,
            "pause": self.pause,
            "at": at,
            "where": where,
            "gate": str(self.gate),
            "action": action,
        }
        self.launch("tests.integration.into_worker", order)

    def await_up(self) -> None:
        """Wait until its process can be asked to stop."""
        up = wait_until(
            lambda: any(note["pid"] == self.pid for note in self.notes("up")), seconds=SECONDS
        )
        assert up, self.told()

    @property
    def gate(self) -> Path:
        """The file that makes the next step the one at which it dies or stops."""
        return self.diary.with_suffix(".gate")

    @property
    def pid(self) -> int:
        """The process that it has now, or had last."""
        assert self.process is not None
        return self.process.pid

    def partitions(self) -> set[int]:
        """Give the partitions that its process has opened since it was assigned something."""
        notes = [note for note in self.notes("Assigned") if note["pid"] == self.pid]
        return {number for _, number in notes[-1]["partitions"]} if notes else set()

    @property
    def alive(self) -> bool:
        """Whether the process is there; one that is stopped is."""
        return self.process is not None and self.process.poll() is None
