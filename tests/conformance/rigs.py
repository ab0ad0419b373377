"""How the suite makes our ledgers, and what it does to them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import redis

from eos.core.ports import Ledger
from eos.stores.memory.ledger import MemoryLedger
from eos.stores.redis.ledger import RedisLedger
from tests.conformance.servers import RedisServer


class MemoryRig:
    def __init__(self, kind: type[MemoryLedger] = MemoryLedger) -> None:
        self._kind = kind

    def ledger(self, *, window: int, generation: int) -> Ledger:
        self._ledger = self._kind(window, generation=generation)
        return self._ledger

    def lose(self) -> None:
        self._ledger.lose()

    def restart(self) -> None:
        self._ledger.restart()


class RedisRig:
    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = redis.Redis.from_url(url)

    def ledger(self, *, window: int, generation: int) -> Ledger:
        return RedisLedger(self._url, window=window, generation=generation)

    def lose(self) -> None:
        self._redis.flushall()

    def restart(self) -> None:
        # A promotion changes the replication id and keeps the data, like a restart that loads
        # a snapshot; a real one is in test_redis_server.py.
        self._redis.replicaof("127.0.0.1", "1")
        self._redis.replicaof("NO", "ONE")


class OwnServer:
    """A rig whose server may be stopped, starved and misconfigured."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis: Any = redis.Redis.from_url(server.url)

    def ledger(self, *, window: int, generation: int) -> Ledger:
        return RedisLedger(self.server.url, window=window, generation=generation, timeout=1)

    def lose(self) -> None:
        self.redis.flushall()

    def restart(self) -> None:
        self.server.stop(save=True)
        self.server.start()

    @contextlib.contextmanager
    def set(self, name: str, value: str | int) -> Iterator[None]:
        before = self.redis.config_get(name)[name]
        self.redis.config_set(name, value)
        try:
            yield
        finally:
            self.redis.config_set(name, before)
