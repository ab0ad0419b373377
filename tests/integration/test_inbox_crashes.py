"""Money moves once, however often processes are killed or wake up as zombies."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from eos.db import create, engine_of
from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster, Input

ROOT = Path(__file__).parents[2]
ACCOUNTS, EACH, PARTITIONS = 5, 1000, 2
KILLS = rows(range(20), range(100))
STEPS_OF_A_RECORD = 11
NEVER = 0


@pytest.fixture(params=["postgresql", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = engine_of(f"sqlite:///{tmp_path / 'bank.sqlite'}")
    else:
        engine = engine_of(request.getfixturevalue("postgres_url"))
    create(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE accounts (name INTEGER, balance INTEGER)"))
        db.execute(text("CREATE TABLE effects (record INTEGER, process INTEGER)"))
        for name in range(ACCOUNTS):
            db.execute(text("INSERT INTO accounts VALUES (:name, :each)"), _(name=name, each=EACH))
    yield engine
    engine.dispose()


def _(**values: int) -> dict[str, int]:
    return values


class Bank:
    """A topic of transfers, and the processes that carry them out."""

    def __init__(self, cluster: Cluster, topic: str, group: str, engine: Engine) -> None:
        self._cluster, self._topic, self._group, self._engine = cluster, topic, group, engine
        self.expected = dict.fromkeys(range(ACCOUNTS), EACH)
        self.sent = 0

    def send(self, count: int) -> None:
        choice = random.Random(count)
        inputs = []
        for number in range(self.sent, self.sent + count):
            payer, payee = choice.sample(range(ACCOUNTS), 2)
            amount = choice.randrange(1, 100)
            self.expected[payer] -= amount
            self.expected[payee] += amount
            value = {"id": number, "from": payer, "to": payee, "amount": amount}
            inputs.append(Input(None, number % PARTITIONS, json.dumps(value).encode()))
        self._cluster.send(self._topic, inputs)
        self.sent += count

    def start(self, at: int = NEVER, number: str = "SIGKILL") -> "subprocess.Popen[str]":
        order = {
            "url": self._engine.url.render_as_string(hide_password=False),
            "group": self._group,
            "brokers": self._cluster.bootstrap_servers,
            "topic": self._topic,
            "partitions": PARTITIONS,
            "at": at,
            "signal": number,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.integration.inbox_worker", json.dumps(order)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def assert_exact(self) -> None:
        with self._engine.connect() as db:
            records = sorted(row[0] for row in db.execute(text("SELECT record FROM effects")))
            accounts = db.execute(text("SELECT name, balance FROM accounts")).all()
        assert records == list(range(self.sent)), "lost, or done twice"
        assert {row[0]: row[1] for row in accounts} == self.expected

    def processes(self) -> dict[int, int]:
        """Tell how many effects each process has had."""
        with self._engine.connect() as db:
            found = db.execute(text("SELECT process, count(*) FROM effects GROUP BY process")).all()
        return {row[0]: row[1] for row in found}


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=PARTITIONS), namespace, engine)


def finish(worker: "subprocess.Popen[str]") -> str:
    output, _ = worker.communicate(timeout=2 * SECONDS)
    assert worker.returncode == 0, output
    return output


@pytest.mark.timeout(900)
def test_money_is_conserved_over_kills_before_and_after_every_step(bank: Bank) -> None:
    choice = random.Random(7)
    for kill in KILLS:
        bank.send(6)
        # Every step of the first two records in turn, then any.
        at = kill + 1 if kill < 2 * STEPS_OF_A_RECORD else choice.randrange(1, 60)
        worker = bank.start(at)
        output, _ = worker.communicate(timeout=2 * SECONDS)
        assert worker.returncode in {-signal.SIGKILL, 0}, output
        assert worker.returncode == -signal.SIGKILL or kill >= 2 * STEPS_OF_A_RECORD

    finish(bank.start())

    bank.assert_exact()


@pytest.mark.parametrize("step", range(1, STEPS_OF_A_RECORD + 1))
def test_a_zombie_stopped_at_any_step_does_nothing_twice(bank: Bank, step: int) -> None:
    bank.send(12)
    zombie = bank.start(step, "SIGSTOP")
    assert zombie.stdout
    assert zombie.stdout.readline() == "here\n"
    heir = bank.start()
    # Where the zombie holds a lock its heir waits for it, as it must: nobody knows whether it
    # lives. In the other cases it does everything.
    wait_until(lambda: heir.poll() is not None or waits(bank), seconds=3)
    if heir.poll() is not None:
        assert sum(bank.processes().values()) == bank.sent

    os.kill(zombie.pid, signal.SIGCONT)

    finish(zombie)
    finish(heir)
    bank.assert_exact()


def waits(bank: Bank) -> bool:
    """Tell whether somebody waits for another's lock; in SQLite nobody can see that."""
    engine = bank._engine  # noqa: SLF001
    if engine.dialect.name == "sqlite":
        return False
    with engine.connect() as db:
        return bool(db.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar())
