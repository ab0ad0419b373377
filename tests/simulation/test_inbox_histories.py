"""Random histories of loops around an inbox: processes that come, go, sleep and are mistaken.

The inbox and the database (SQLite) are real; Kafka is a list of offsets with gaps. Whatever loops
do with their transactions, what is committed is each record once, and none is passed over.
"""

import os
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import insert, text

import eos
from eos.db import create, engine_of
from eos.doors.inbox.trail import Trail
from eos.stores.sql.tables import frontiers

HISTORIES = int(os.environ.get("EOS_HISTORIES", "3000")) // 20
ACTIONS = 60
TOPIC = "t"
WHERE = ("t", 0)


@dataclass
class Process:
    """A loop around an inbox."""

    database: str
    log: list[int]
    at: int = 0
    asleep: int = 0
    begun: int | None = None
    db: sqlite3.Connection | None = None
    inbox: eos.Inbox = field(init=False)

    def __post_init__(self) -> None:
        self.inbox = eos.Inbox(f"sqlite:///{self.database}", group="g")
        self.inbox._rows.ids[TOPIC] = TOPIC  # noqa: SLF001
        self.seek()

    def seek(self) -> None:
        """What `Inbox.seek` does, without a Kafka."""
        self.end("rollback")
        frontier = frontier_of(self.database)
        self.inbox._trails[WHERE] = Trail(frontier)  # noqa: SLF001
        self.at = sum(offset < frontier for offset in self.log)

    def settle(self) -> bool:
        """Settle the next record, in the transaction that is open; False if there is none."""
        if self.at == len(self.log):
            return False
        if self.db is None:
            self.db = sqlite3.connect(self.database, timeout=0)
            self.begun = self.at
        offset = self.log[self.at]
        try:
            if self.inbox.settle(self.db, SimpleNamespace(topic=TOPIC, partition=0, offset=offset)):
                self.db.execute("INSERT INTO effects VALUES (?)", [offset])
        except eos.RetriableError:
            self.at = self.end("rollback")
        except eos.AbortableError:
            self.seek()
        else:
            self.at += 1
        return True

    def end(self, how: str) -> int:
        """End the transaction, and give where it began."""
        begun = self.at if self.begun is None else self.begun
        if self.db is not None:
            getattr(self.db, how)()
            self.db.close()
        self.db = self.begun = None
        return begun


def frontier_of(database: str) -> int:
    with sqlite3.connect(database) as db:
        found = db.execute("SELECT next_offset FROM eos_frontiers").fetchone()
    db.close()
    return int(found[0])


def effects_of(database: str) -> list[int]:
    with sqlite3.connect(database) as db:
        found = db.execute("SELECT record FROM effects ORDER BY rowid").fetchall()
    db.close()
    return [row[0] for row in found]


def act(process: Process, choice: random.Random) -> None:
    """Do something that a loop may do, sensible or not."""
    match choice.choices(
        ["settle", "commit", "again", "on", "lost", "seek", "sleep"], [50, 20, 6, 6, 6, 3, 4]
    )[0]:
        case "settle":
            process.settle()
        case "commit":
            process.end("commit")
        case "again":  # rolled back, and handled again
            process.at = process.end("rollback")
        case "on":  # rolled back, and nobody cares
            process.end("rollback")
        case "lost":  # committed, and the answer was lost
            process.at = process.end("commit")
        case "seek":
            process.seek()
        case _:  # a zombie, with or without an open transaction
            process.asleep = choice.randrange(1, 30)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A database with the tables and one row."""
    path = str(tmp_path / "histories.sqlite")
    engine = engine_of(f"sqlite:///{path}")
    create(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE effects (record INTEGER)"))
        row = {"namespace": "g", "consumer_group": "g", "topic_id": TOPIC, "partition": 0}
        db.execute(insert(frontiers).values(**row, topic=TOPIC, next_offset=0))
    engine.dispose()
    plain = sqlite3.connect(path)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.close()
    return path


def run(database: str, seed: int) -> None:
    choice = random.Random(seed)
    with sqlite3.connect(database) as db:
        db.execute("DELETE FROM effects")
        db.execute("UPDATE eos_frontiers SET next_offset = 0")
    db.close()
    log = sorted(choice.sample(range(40), 25))
    processes = [Process(database, log) for _ in range(3)]
    for _ in range(ACTIONS):
        number = choice.randrange(len(processes))
        process = processes[number]
        if process.asleep:
            process.asleep -= 1
        elif choice.random() < 0.02:
            process.end("rollback")  # killed
            processes[number] = Process(database, log)
        else:
            act(process, choice)
    for process in processes:
        process.end(choice.choice(["commit", "rollback"]))
    last = Process(database, log)
    while last.settle():
        last.end("commit")
    assert effects_of(database) == log, f"seed {seed}"


def run_all(database: str) -> None:
    for seed in range(HISTORIES):
        run(database, seed)


@pytest.mark.timeout(1200)
def test_each_record_has_its_effect_once_and_in_order_whatever_loops_do(database: str) -> None:
    run_all(database)


@pytest.mark.parametrize("flaw", ["blind", "no rollback seen"])
def test_an_inbox_that_believes_too_much_is_found_out(
    database: str, flaw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flaw == "blind":  # it takes any frontier at or below the record for its own
        monkeypatch.setattr(Trail, "first_undone", lambda *_: 10**9)
    else:  # it believes that what it settled was committed
        monkeypatch.setattr(Trail, "back_to", lambda *_: None)
        monkeypatch.setattr(Trail, "first_undone", lambda self, _: self.next)

    with pytest.raises(AssertionError, match="seed"):
        run_all(database)
