"""Sidecars that publish, and clients that all ask for the same, again and again."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.sidecar_crew import Process, sidecar_command

CLIENTS = 20
AGAIN = frozenset({409, 503})
AGAIN_SECONDS = 0.02
"""Sooner than the sidecar asks for: more calls meet while one is in flight."""


@dataclass
class Callers:
    """Two sidecars and twenty clients, each of which calls once for each key.

    Attributes:
        cluster: Where the topic is.
        ledger: The ledger's URL.
        name: The group.
        to: What they publish to.
        folder: Where files are.
        keys: How many keys there are.
        seed: Of what is drawn.
        answers: Which answers each key got, and how often.
        again: How often a client was told to ask again, by status; 0: it got no answer.
        failed: Why a client gave up.
    """

    cluster: Cluster
    ledger: str
    name: str
    to: str
    folder: Path
    keys: int
    seed: int
    sidecars: list[Process] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    answers: dict[int, Counter[bytes]] = field(default_factory=dict)
    again: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self.ports = list(free_ports(2))
        for number, port in enumerate(self.ports):
            config = self.folder / f"publish-{number}.toml"
            config.write_text(self._config(number, port), encoding="utf-8")
            output = self.folder / f"publish-{number}.out"
            self.sidecars.append(Process(sidecar_command(config), {}, output))
        for each in self.sidecars:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self.sidecars:
            each.kill()
        if kind is not None:
            for each in self.sidecars:
                print(each.output.read_text(encoding="utf-8")[-4000:])  # noqa: T201

    def _config(self, number: int, port: int) -> str:
        """Give the file of a sidecar; a death is soon noticed."""
        return f"""
            [kafka]
            group = "{self.name}"
            instance = "publisher-{number}"
            brokers = "{self.cluster.bootstrap_servers}"
            settings = {{ "session.timeout.ms" = 1500, "heartbeat.interval.ms" = 300 }}
            [ledger]
            url = "{self.ledger}"
            [listen]
            address = "127.0.0.1:{port}"
            [publish]
            topics = ["{self.to}"]
            timeout = "3s"
        """

    @property
    def answered(self) -> int:
        """How many calls were answered for good."""
        return sum(found.total() for found in self.answers.values())

    def run(self, kills: int, *others: Callable[[], None]) -> None:
        """Have all clients call for all keys, and kill somebody now and then.

        Args:
            kills: How often.
            *others: Kill somebody else than a sidecar.
        """
        clients = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        choice, calls = random.Random(self.seed), CLIENTS * self.keys
        victims: list[Callable[[], None]] = [
            *(partial(_again, it) for it in self.sidecars),
            *(it.kill_child for it in self.sidecars),
            *others,
        ]
        for kill in range(kills):
            goal = calls * (kill + 1) // (kills + 1)
            there = partial(self._has, goal)
            assert wait_until(there, seconds=8 * SECONDS), self.failed or "the clients stand still"
            choice.choice(victims)()
        for client in clients:
            client.join(8 * SECONDS)
            assert not client.is_alive(), "a client does not come to an end"

    def _has(self, goal: int) -> bool:
        return self.answered >= goal or bool(self.failed)

    def assert_exact(self) -> None:
        """See that each key was published once, and that all clients got the same answer."""
        assert self.failed == []
        values = [message.value() or b"" for message in self.cluster.read_committed(self.to)]
        found = Counter(map(int, values))
        assert found == Counter(range(self.keys))
        assert self.answers.keys() == set(range(self.keys))
        for answers in self.answers.values():
            ((_, count),) = answers.items()
            assert count == CLIENTS

    def _client(self, number: int) -> None:
        choice = random.Random(f"{self.seed} {number}")
        keys = list(range(self.keys))
        # Not all alike, yet near each other: copies of a call meet while it is in flight.
        keys.sort(key=lambda key: key + choice.randrange(20))
        lines = [HTTPConnection("127.0.0.1", port, timeout=SECONDS) for port in self.ports]
        try:
            for key in keys:
                answer = self._ask(key, lines, choice)
                with self._lock:
                    self.answers.setdefault(key, Counter()).update([answer])
        except Exception as error:  # noqa: BLE001 the test tells of it
            self.failed.append(repr(error))

    def _ask(self, key: int, lines: list[HTTPConnection], choice: random.Random) -> bytes:
        """Ask one of the sidecars, and again, until one has an answer."""
        headers = {"idempotency-key": json.dumps(f"key-{key}"), "content-type": "text/plain"}
        deadline = time.monotonic() + 4 * SECONDS
        while time.monotonic() < deadline:
            line, status = choice.choice(lines), 0
            try:
                line.request("POST", f"/v1/topics/{self.to}", b"%d" % key, headers)
                response = line.getresponse()
                status, body = response.status, response.read()
            except (OSError, HTTPException):
                with suppress(OSError):
                    line.close()
            if status == 200:
                return body
            if status and status not in AGAIN:
                raise AssertionError(f"{status} {body!r}")
            with self._lock:
                self.again[status] += 1
            time.sleep(AGAIN_SECONDS)
        raise AssertionError(f"no answer for key {key}")


def _again(process: Process) -> None:
    process.kill()
    process.start()
