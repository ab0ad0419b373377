"""The chain of docs/examples/chain as its README runs it: its commands, and what they must keep."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from eos.db import create as create_tables
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "chain"
ACCOUNTS = 7
PARTITIONS = 3
PAYMENTS = "eos run payments:app --workers 2"
RELAY = "eos relay --db $SHOP_DATABASE --namespace shop"
BALANCES = "eos run balances:app --workers 2"

# See chain_broken.py.
BROKEN = "eos run tests.integration.chain_broken:app --workers 2"
OWN_CONNECTION, FROM_THE_HANDLER = "own connection", "from the handler"


@dataclass
class Shop:
    """Topics, a database, and what has to become of the orders.

    Attributes:
        cluster: Where the topics are.
        engine: The database.
        name: What all names begin with.
        ledger: The ledger of whoever keeps the balances.
        sent: How many orders were sent, by their numbers from 1 on.
    """

    cluster: Cluster
    engine: Engine
    name: str
    ledger: str
    sent: int = 0

    def open(self) -> None:
        """Make topics and tables."""
        for topic in (self.orders, self.payments):
            self.cluster.create_named(topic, PARTITIONS)
        create_tables(self.engine)
        self.run("python", "tables.py")

    @property
    def orders(self) -> str:
        """The topic of orders."""
        return f"{self.name}.orders"

    @property
    def payments(self) -> str:
        """The topic of payments."""
        return f"{self.name}.payments"

    @property
    def environment(self) -> dict[str, str]:
        """What the README exports."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(ROOT)]),
            "SHOP": self.name,
            "SHOP_DATABASE": self.engine.url.render_as_string(hide_password=False),
            "EOS_BROKERS": self.cluster.bootstrap_servers,
            "EOS_LEDGER": self.ledger,
        }

    def run(self, *command: str) -> str:
        """Run a command of the example to its end, and give what it says."""
        done = subprocess.run(
            _command(command),
            cwd=EXAMPLE,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def send(self, count: int) -> None:
        """Send orders, some of them twice."""
        print(self.run("python", "orders.py", str(count), str(self.sent + 1)))  # noqa: T201
        self.sent += count

    def count(self, table: str) -> int:
        """Count the rows of a table; -1 while the database is away."""
        with suppress(SQLAlchemyError), self.engine.connect() as db:
            return int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar() or 0)  # noqa: S608
        return -1

    def is_at_rest(self) -> bool:
        """Tell whether all orders and all payments are settled, and nothing is to be published."""
        if self.count("postings") < self.sent or self.count("eos_outbox"):
            return False
        with self.engine.connect() as db:
            rows = db.execute(text("SELECT topic, partition, next_offset FROM eos_frontiers"))
            settled = {(topic, partition): offset for topic, partition, offset in rows}
        # Behind the last message of a topic are the marks of its transactions.
        return all(
            settled.get((topic, each.partition()), 0) > (each.offset() or 0)
            for topic in (self.orders, self.payments)
            for each in self.cluster.read_committed(topic)
        )

    def assert_conserved(self) -> None:
        """See that the money is the same everywhere, each order once, and in order.

        Tables are only added to, and have no constraint but the balances' names: what is done
        twice stands there twice, and is booked twice.
        """
        expected = Money()
        for number in range(1, self.sent + 1):
            expected.add(f"order-{number}", f"account-{number % ACCOUNTS}", number)
        messages = self.published()
        places = {
            "charges": self.read("SELECT order_id, account, cents FROM charges"),
            "messages": messages,
            "postings": self.read("SELECT payment_id, account, cents FROM postings"),
        }
        faults = {name: found.faults(expected) for name, found in places.items()}
        assert not any(faults.values()), faults
        assert self.balances() == expected.accounts
        assert messages.in_order(), "the payments of an account have changed their order"
        for table in ("eos_outbox", "eos_outbox_scheduled", "eos_outbox_dead"):
            assert self.count(table) == 0, table

    def published(self) -> "Money":
        """Read the topic of payments as its consumers do."""
        found = Money()
        for message in self.cluster.read_committed(self.payments):
            value = json.loads(message.value() or b"")
            name = dict(message.headers() or [])["message-id"]
            assert isinstance(name, bytes)
            found.add(name.decode(), value["account"], value["cents"])
        return found

    def read(self, statement: str) -> "Money":
        """Read a table."""
        with self.engine.connect() as db:
            rows = db.execute(text(statement)).all()
        found = Money()
        for name, account, cents in rows:
            found.add(name, account, cents)
        return found

    def balances(self) -> dict[str, int]:
        """Read what the accounts are charged with."""
        with self.engine.connect() as db:
            return {row[0]: row[1] for row in db.execute(text("SELECT * FROM balances"))}


@dataclass
class Money:
    """What stands at one place of the chain.

    Attributes:
        ids: How often each order stands there.
        accounts: How many cents each account is charged with.
        amounts: The amounts of each account, in the order of the place.
    """

    ids: Counter[str] = field(default_factory=Counter)
    accounts: dict[str, int] = field(default_factory=dict)
    amounts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, account: str, cents: int) -> None:
        """Add an entry; what a payment is made from names it."""
        self.ids[name.removeprefix("payment-")] += 1
        self.accounts[account] = self.accounts.get(account, 0) + cents
        self.amounts[account].append(cents)

    def in_order(self) -> bool:
        """Tell whether the amounts grow, as those of the orders do."""
        return all(found == sorted(found) for found in self.amounts.values())

    def faults(self, expected: "Money") -> str:
        """Say what is wrong; nothing if all is right."""
        lost = sorted(expected.ids.keys() - self.ids.keys())
        twice = sorted(name for name, count in self.ids.items() if count > 1)
        strange = sorted(self.ids.keys() - expected.ids.keys())
        if (lost, twice, strange) != ([], [], []):
            return f"lost={lost[:5]} twice={twice[:5]} strange={strange[:5]}"
        return "" if self.accounts == expected.accounts else f"{self.accounts=}"


@dataclass
class Service:
    """A command of the README, that is started again whenever it was killed.

    Attributes:
        shop: Whose it is.
        command: As the README has it.
        log: Where it says what it does.
        environment: Further variables.
    """

    shop: Shop
    command: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it."""
        environment = {**self.shop.environment, **self.environment}
        words = [
            word.replace("$SHOP_DATABASE", environment["SHOP_DATABASE"])
            for word in self.command.split()
        ]
        if words[-2:] == ["--namespace", "shop"]:
            words[-1] = self.shop.name
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                _command(words),
                cwd=EXAMPLE,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def workers(self) -> list[int]:
        """Give the process ids of its workers."""
        assert self.process is not None
        pid = self.process.pid
        try:
            return [int(each) for each in _children(pid)]
        except OSError:
            return []

    def kill_a_worker(self) -> str:
        """Kill one as `kill -9` does; the command starts it again."""
        assert wait_until(lambda: bool(self.workers()), seconds=SECONDS), self.told()
        victim = self.workers()[-1]
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return f"a worker of {self.log.stem}"

    def kill(self) -> str:
        """Kill the command and its workers, as when a machine goes away; and start it again."""
        self.destroy()
        self.start()
        return self.log.stem

    def destroy(self) -> None:
        """Leave no process behind."""
        if self.process is None:
            return
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        for each in workers:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def drain(self) -> None:
        """Ask it to stop, and see that it does so in order."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(2 * SECONDS) == 0, self.told()

    @property
    def alive(self) -> bool:
        """Whether it is still there; it never ends by itself."""
        return self.process is not None and self.process.poll() is None

    def told(self) -> str:
        """Give what it said last, for a test that failed."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"--- {self.log.name}", *lines[-25:]])


@dataclass
class Chain:
    """All that runs.

    Attributes:
        shop: What it runs on.
        services: The commands, two of them relays.
    """

    shop: Shop
    services: list[Service]

    def await_count(self, table: str, count: int, seconds: float = 4 * SECONDS) -> None:
        """Wait until so many rows are there."""
        self.wait(lambda: self.shop.count(table) >= count, f"{count} {table}", seconds)

    def come_to_rest(self, seconds: float = 4 * SECONDS) -> None:
        """Wait until all is settled."""
        self.wait(self.shop.is_at_rest, "the end", seconds)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for something that they do; none of them may end of itself meanwhile."""
        met = wait_until(
            lambda: condition() or not all(each.alive for each in self.services),
            seconds=seconds,
            every=0.1,
        )
        ended = [each.log.stem for each in self.services if not each.alive]
        if ended or not met:
            raise AssertionError(f"waited in vain for {what}; ended: {ended}\n{self.told()}")

    def told(self) -> str:
        """Give what all of them said, and where the chain stands."""
        tables = ("charges", "eos_outbox", "eos_outbox_dead", "postings")
        counts = {table: self.shop.count(table) for table in tables}
        return "\n".join([f"sent {self.shop.sent} {counts}", *(s.told() for s in self.services)])


@contextmanager
def running(
    shop: Shop, folder: Path, payments: str = PAYMENTS, **environment: str
) -> Iterator[Chain]:
    """Run the chain: two services, and two relays."""
    commands = {"payments": payments, "relay-1": RELAY, "relay-2": RELAY, "balances": BALANCES}
    services = [
        Service(shop, command, folder / f"{name}.log", environment)
        for name, command in commands.items()
    ]
    try:
        for service in services:
            service.start()
        yield Chain(shop, services)
    finally:
        for service in services:
            service.destroy()


def _command(words: Iterable[str]) -> list[str]:
    """Have a command run by this very Python."""
    first, *rest = words
    return [sys.executable, *(["-m", "eos"] if first == "eos" else []), *rest]


def _children(pid: int) -> list[str]:
    return [
        child
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
