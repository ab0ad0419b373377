"""Sidecars and the Node.js app of docs/examples/sidecar, as processes that can be killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.sidecar_kit import ask

ROOT = Path(__file__).parents[2]
APP = ROOT / "docs" / "examples" / "sidecar" / "app.mjs"
CUSTOMERS = 12
PARTITIONS = 4
COPY_EVERY = 5


@dataclass
class Process:
    """A command that is started again and again.

    Attributes:
        command: The command.
        environment: What it finds in its environment, beside our own.
        output: Where it writes.
    """

    command: list[str]
    environment: dict[str, str]
    output: Path
    _running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; in a group of its own, with whatever it starts."""
        with self.output.open("ab") as output:
            self._running = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill it and all that it started."""
        if self._running is not None:
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()

    def signal(self, number: int) -> None:
        """Send a signal to it and all that it started."""
        assert self._running is not None
        os.killpg(self._running.pid, number)

    def kill_child(self) -> None:
        """Kill the process that it started: it is started anew by itself."""
        assert self._running is not None
        tasks = Path(f"/proc/{self._running.pid}/task/{self._running.pid}/children")
        for child in tasks.read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)

    def end(self) -> int:
        """Ask it to end, and wait for that; gives the exit code."""
        assert self._running is not None
        self._running.terminate()
        return self._running.wait(2 * SECONDS)


def sidecar_command(config: Path) -> list[str]:
    """Give the command that runs a sidecar with this file."""
    return [sys.executable, "-m", "eos", "sidecar", "--config", str(config)]


@dataclass
class Crew:
    """Two sidecars, an app for each, and what they must do.

    Attributes:
        cluster: Where the topics are.
        ledger: The ledger's URL.
        name: The group.
        source: What they read.
        to: Where the app's answers go.
        folder: Where files are.
        sidecars: The sidecars.
        apps: The apps.
        sent: What was sent, in order, as `customer:number`.
    """

    cluster: Cluster
    ledger: str
    name: str
    source: str
    to: str
    folder: Path
    sidecars: list[Process] = field(default_factory=list)
    apps: list[Process] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        assert shutil.which("node"), "Node.js is missing: apt-get install nodejs"
        for number in range(2):
            app, listen = free_ports(2)
            self.urls.append(f"http://127.0.0.1:{listen}")
            self.apps.append(
                Process(["node", str(APP)], {"PORT": str(app)}, self.folder / f"app-{number}.out")
            )
            config = self.folder / f"eos-{number}.toml"
            config.write_text(self._config(number, app, listen), encoding="utf-8")
            output = self.folder / f"sidecar-{number}.out"
            self.sidecars.append(Process(sidecar_command(config), {}, output))
        for each in [*self.apps, *self.sidecars]:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in [*self.sidecars, *self.apps]:
            each.kill()
        if kind is not None:
            for each in self.sidecars:
                print(each.output.read_text(encoding="utf-8")[-4000:])  # noqa: T201

    def _config(self, number: int, app: int, listen: int) -> str:
        """Give the file of a sidecar; a death is soon noticed, and batches are small."""
        return f"""
            [kafka]
            group = "{self.name}"
            instance = "sidecar-{number}"
            brokers = "{self.cluster.bootstrap_servers}"
            batch_records = 20
            commit_interval = "0s"
            settings = {{ "session.timeout.ms" = 1500, "heartbeat.interval.ms" = 300 }}
            [ledger]
            url = "{self.ledger}"
            [app]
            url = "http://127.0.0.1:{app}/"
            timeout = "5s"
            [listen]
            address = "127.0.0.1:{listen}"
            [[deliver]]
            topic = "{self.source}"
            to = "{self.to}"
        """

    def send(self, count: int) -> None:
        """Send orders of all customers in turn, and now and then one that was sent before."""
        inputs = []
        for _ in range(count):
            number = len(self.sent)
            self.sent.append(f"{number % CUSTOMERS}:{number // CUSTOMERS}")
            inputs.append(_order(self.sent[-1]))
            if number % COPY_EVERY == 0:
                inputs.append(_order(self.sent[number // 2]))
        self.cluster.send(self.source, inputs)

    def victims(self) -> list[Callable[[], None]]:
        """Give what can be done to them."""
        return [
            *(partial(_again, it) for it in [*self.sidecars, *self.apps]),
            *(it.kill_child for it in self.sidecars),
        ]

    def storm(self, kills: int, seed: int) -> None:
        """Send orders, and kill somebody whenever some more of them were handled."""
        choice = random.Random(seed)
        for _ in range(kills):
            self.send(50)
            goal = self.handled() + choice.randrange(1, 40)
            self.await_handled(min(goal, len(self.sent)))
            choice.choice(self.victims())()

    def handled(self) -> int:
        """Count what stands in the outputs, marks of transactions included."""
        return sum(self.cluster.ends(self.to).values())

    def await_handled(self, goal: int) -> None:
        """Wait until so much stands there."""
        assert wait_until(lambda: self.handled() >= goal, seconds=4 * SECONDS), "they stand still"

    def await_all(self) -> None:
        """Wait until all is settled."""
        self.cluster.await_settled(self.name, self.source, seconds=4 * SECONDS)

    def assert_exact(self) -> None:
        """See that each order has one receipt, and each customer's are in order."""
        found = ids(self.cluster.read_committed(self.to))
        assert sorted(found) == sorted(f"charged {order}" for order in self.sent)
        orders: dict[str, list[int]] = defaultdict(list)
        for receipt in found:
            customer, number = receipt.removeprefix("charged ").split(":")
            orders[customer].append(int(number))
        assert all(numbers == sorted(numbers) for numbers in orders.values())

    def status(self, number: int) -> str:
        """Give what a sidecar says of itself."""
        return json.dumps(ask(f"{self.urls[number]}/v1/status")[1])


def _order(name: str) -> Input:
    customer = int(name.split(":", maxsplit=1)[0])
    return Input(name, customer % PARTITIONS, key=b"%d" % customer)


def _again(process: Process) -> None:
    process.kill()
    process.start()
