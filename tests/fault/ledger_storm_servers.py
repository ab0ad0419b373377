"""A Redis and its replica behind one address, and what befalls the ledger that they hold."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from eos.devstack import Server, Stack, running
from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from tests.fault.ledger_storm_door import HOST, Door
from tests.integration.test_old_dumps import Dumps

SECONDS = 60.0
LONGEST_SECONDS = 2.0
"""So long, at most, a server lacks memory, a replica hears nothing, or a dump grows old."""


class Redis:
    """One of the two servers.

    Args:
        stack: What it was started in.
        dump: The folder of the one dump, which either of them may be given.
    """

    def __init__(self, stack: Stack, dump: Path) -> None:
        self.server: Server = stack.redis
        self.port = int(urlsplit(stack.redis_url).port or 0)
        self.client: Any = redis.Redis.from_url(stack.redis_url)
        self.dumps = Dumps(stack, dump)
        self.data = Path(str(self.client.config_get("dir")["dir"]))

    def writes(self) -> int:
        """Count what was written since the server started or was copied."""
        return int(self.client.info("persistence")["rdb_changes_since_last_save"])

    def refused(self) -> int:
        """Count calls that were refused because memory was short."""
        found = self.client.info("errorstats").get("errorstat_OOM", {"count": 0})
        return int(found["count"])


class Pair:
    """What the workers know as one Redis: a primary, and a standby that may take over.

    Attributes:
        url: The address of whoever is the primary.
        harms: What befalls the ledger, by name; each says what it did.
        missed: How many writes a promoted replica had not heard of, of each fail-over.
    """

    def __init__(self, door: Door, first: Redis, second: Redis) -> None:
        self.url = f"redis://{HOST}:{door.port}/0"
        self._door = door
        self._primary, self._standby = first, second
        self._has_dump = False
        self.missed: list[int] = []
        self.harms: dict[str, Callable[[random.Random], str]] = {
            "FLUSHALL": self.flush,
            "restart without persistence": self.restart_empty,
            "fail-over": self.fail_over,
            "old dump": self.put_back,
            "out of memory": self.run_out_of_memory,
            "SCRIPT FLUSH": self.flush_scripts,
        }
        door.lead(first.port)

    def flush(self, _: random.Random) -> str:
        """Empty the server, as a wrong click does."""
        self._primary.client.flushall()
        return "all keys are gone"

    def restart_empty(self, chance: random.Random) -> str:
        """Restart the server as one without persistence."""
        self._primary.server.kill()
        shutil.rmtree(self._primary.data / "appendonlydir")
        time.sleep(chance.choice([0.0, chance.uniform(0, LONGEST_SECONDS)]))
        self._primary.server.start()
        return "it came back empty"

    def fail_over(self, chance: random.Random) -> str:
        """Promote, by hand, a replica that misses the last writes; the old primary is gone."""
        old, new = self._primary, self._standby
        self._follow(old, new)
        self._wait(chance)
        new.client.replicaof(HOST, free_ports(1)[0])  # nobody is there: it hears nothing more
        before = old.writes()
        self._await(lambda: old.writes() > before, "a write that the replica misses")
        self._wait(chance)
        missed = old.writes() - before
        old.server.kill()
        way = chance.choice(["after", "before"])
        if way == "before":
            self._door.lead(new.port)
            self._wait(chance)
        new.client.replicaof("NO", "ONE")
        self._door.lead(new.port)
        self._primary, self._standby = new, old
        self.missed.append(missed)
        return f"{missed} writes were missed; clients came {way} the promotion"

    def put_back(self, chance: random.Random) -> str:
        """Put a dump back: one of some moments ago, or one that is older than other losses."""
        old = self._has_dump and chance.random() < 1 / 2
        if not old:
            self._primary.dumps.take()
            self._has_dump = True
            before = self._primary.writes()
            self._await(lambda: self._primary.writes() > before, "a write that the dump misses")
            self._wait(chance)
        self._primary.dumps.put_back()
        return f"a dump was put back, {'an older one' if old else 'of moments ago'}"

    def run_out_of_memory(self, chance: random.Random) -> str:
        """Lower the limit to what is in use, or little above; raise it again later."""
        client, before = self._primary.client, self._primary.refused()
        room = chance.choice([0, chance.randrange(50_000)])
        client.config_set("maxmemory", client.info("memory")["used_memory"] + room)
        full = wait_until(lambda: self._primary.refused() > before, seconds=2.0)
        if not full:  # what is in use shrinks, too: as when a client leaves
            client.config_set("maxmemory", 1)
            self._await(lambda: self._primary.refused() > before, "a call that is refused")
        self._wait(chance)
        refused = self._primary.refused() - before
        client.config_set("maxmemory", 0)
        return f"{refused} calls were refused"

    def flush_scripts(self, _: random.Random) -> str:
        """Let the server forget all scripts."""
        self._primary.client.script_flush()
        return "all scripts are forgotten"

    def close(self) -> None:
        """Give the connections back."""
        for each in (self._primary, self._standby):
            each.client.close()

    def _follow(self, old: Redis, new: Redis) -> None:
        """Make one a replica of the other, and wait until it has all."""
        new.server.start()
        old.client.config_set("repl-diskless-sync-delay", 0)
        new.client.replicaof(HOST, old.port)

        def follows() -> bool:
            about = new.client.info("replication")
            return bool(about["role"] == "slave" and about["master_link_status"] == "up")

        self._await(follows, "a replica that follows")

    @staticmethod
    def _wait(chance: random.Random) -> None:
        time.sleep(chance.uniform(0, LONGEST_SECONDS))

    @staticmethod
    def _await(condition: Callable[[], bool], what: str) -> None:
        if not wait_until(condition, seconds=SECONDS):
            raise AssertionError(f"waited in vain for {what}")


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Start two servers that nobody else needs, and the address that leads to the first.

    Args:
        folder: Where the dump is kept.
    """
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.delenv("EOS_REDIS_URL", raising=False)
        first, second = (
            Redis(stack.enter_context(running(brokers=0)), folder / "redis") for _ in range(2)
        )
        made = Pair(stack.enter_context(Door()), first, second)
        stack.callback(made.close)
        yield made
