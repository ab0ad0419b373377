"""A handler with a bug, its dead letters, and what became of each record in the end."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from sqlalchemy import Engine, text

from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.outbox_door_kit import command, url_of
from tests.integration.processes import ROOT, Worker

PATIENCE = 4 * SECONDS


@dataclass
class Clerk(Worker):
    """A slot whose handler has a bug for as long as a file is there."""

    bug: Path = Path()
    sink: Path = Path()

    def serve(self) -> None:
        """Start a process."""
        order = {
            "settings": self.settings,
            "source": self.source,
            "to": self.to,
            "into": self.into,
            "slot": self.slot,
            "diary": str(self.diary),
            "bug": str(self.bug),
            "sink": str(self.sink),
            "broken": self.broken,
        }
        self.launch("tests.integration.letters_worker", order)


@dataclass
class Office:
    """Records, of which some become dead letters, workers, and the command.

    Attributes:
        cluster: Where the topics are.
        settings: Of the workers.
        source: The topic that they read.
        folder: For files.
        to: Where they send; empty: elsewhere.
        engine: The database that they write to, if any.
        broken: How they, or the command, are broken.
        ids: All that was sent.
        kills: How many processes were killed.
    """

    cluster: Cluster
    settings: dict[str, Any]
    source: str
    folder: Path
    to: str = ""
    engine: Engine | None = None
    broken: str = ""
    ids: list[str] = field(default_factory=list)
    kills: int = 0
    clerks: list[Clerk] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.bug.touch()
        self.namespace: str = self.settings["group"]
        for slot in range(2):
            clerk = Clerk(
                self.settings,
                self.source,
                self.to,
                self.folder / f"clerk{slot}",
                slot=slot,
                broken=self.broken,
                into=url_of(self.engine) if self.engine else "",
                bug=self.bug,
                sink=self.sink,
            )
            self.clerks.append(clerk)

    @property
    def bug(self) -> Path:
        """While it is there, the handler has the bug."""
        return self.folder / "bug"

    @property
    def sink(self) -> Path:
        """What the plain tier appends to."""
        return self.folder / "sink"

    def send(self, letters: int, others: int, choice: random.Random, *, keyless: int = 0) -> None:
        """Send records of which some become dead letters; some of those have no key."""
        names = [f"bad-{n}" for n in range(letters)] + [f"good-{n}" for n in range(others)]
        self.ids += names
        without = set(names[:keyless])
        choice.shuffle(names)
        self.cluster.send(
            self.source,
            [
                Input(None if name in without else name, choice.randrange(2), name.encode())
                for name in names
            ],
        )

    def until_settled(self) -> None:
        """Wait until all that stands in the topic is settled; no worker may die of itself."""
        ends = dict[int, int]()  # without the markers of transactions, which nobody settles
        for message in self.cluster.read_committed(self.source):
            ends[message.partition() or 0] = (message.offset() or 0) + 1

        def settled() -> bool:
            dead = [each.told() for each in self.clerks if each.process and each.process.poll()]
            assert not dead, "\n".join(dead)
            with suppress(KafkaException):  # the coordinator is being looked for, or moves
                found = self.cluster.committed(self.namespace, self.source)
                return all(found.get(number, 0) >= end for number, end in ends.items())
            return False

        assert wait_until(settled, seconds=PATIENCE, every=0.2), self.clerks[0].told()

    def dlq(self, *arguments: str) -> tuple[int, str]:
        """Run `eos dlq` in this process."""
        where = ("--namespace", self.namespace, "--brokers", self.settings["brokers"])
        return command("dlq", *arguments, *where)

    def start(
        self, *arguments: str, fault: dict[str, Any] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start `eos dlq` in a process of its own, with small batches."""
        where = ("--namespace", self.namespace, "--brokers", self.settings["brokers"])
        order = {"arguments": [*arguments, *where], "fault": fault, "broken": self.broken}
        with (self.folder / "command.out").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.integration.letters_command", json.dumps(order)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def until_done(self, *arguments: str, kills: int, choice: random.Random) -> None:
        """Run the command, killed so often at random, and a worker with it, until it ends."""
        left = kills
        while True:
            process = self.start(*arguments)
            try:
                process.wait(choice.uniform(0.3, 3.0) if left else PATIENCE)
            except subprocess.TimeoutExpired:
                assert left, f"the command does not end:\n{self.told()}"
            finally:
                process.kill()
                code = process.wait()
            if left:
                self.kill(choice.choice(self.clerks))
                self.kills += code == -signal.SIGKILL
                left -= 1
            elif code == 0:
                return
            assert code in {0, -signal.SIGKILL}, self.told()

    def kill(self, clerk: Clerk) -> None:
        """Kill a worker, and start its successor."""
        assert clerk.process
        clerk.process.kill()
        assert clerk.exit_code() == -signal.SIGKILL, clerk.told()
        self.kills += 1
        clerk.serve()

    def told(self) -> str:
        """Give what the commands said."""
        return (self.folder / "command.out").read_text()

    def effects(self) -> Counter[str]:
        """Count the effects of each record; in the plain tier those that are not in doubt."""
        return Counter(id_ for id_, in_doubt in self._effects() if not in_doubt)

    def missing(self) -> set[str]:
        """Give what had no effect at all."""
        return set(self.ids) - {id_ for id_, _ in self._effects()}

    def _effects(self) -> Sequence[tuple[str, bool]]:
        if self.to:
            messages = self.cluster.read_committed(self.to)
            return [((message.value() or b"").decode(), False) for message in messages]
        if self.engine:
            with self.engine.connect() as db:
                return [(row[0], False) for row in db.execute(text("SELECT id FROM effects"))]
        # A kill may leave half a line: then its effect did not take place.
        lines = [each for each in self.sink.read_text().splitlines(keepends=True) if "}\n" in each]
        return [(told["id"], told["in_doubt"]) for told in map(json.loads, lines)]

    def __enter__(self) -> Self:
        for clerk in self.clerks:
            self._stack.enter_context(clerk)
            clerk.serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no process behind."""
        self._stack.close()


def office(tier: str, cluster: Cluster, settings: Settings, **about: Any) -> Office:
    """Describe an office of a tier; `about` has what it needs.

    Args:
        tier: `transaction`, `inbox`, `joined` (the ledger is the same database) or `plain`.
        cluster: Where the topics are.
        settings: Of the workers.
        **about: `source`, `to`, `folder`, `engine`, `broken`.
    """
    told = {
        "group": settings.group,
        "brokers": settings.brokers,
        "ledger": settings.ledger,
        "batch_records": settings.batch_records,
        "commit_interval": settings.commit_interval,
        "kafka": dict(settings.kafka),
    }
    if tier == "joined":
        told["ledger"] = url_of(about["engine"])
    if tier != "transaction":
        about["to"] = ""
    if tier in {"transaction", "plain"}:
        about["engine"] = None
    return Office(cluster, told, **about)
