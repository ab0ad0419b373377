"""How the suite makes our ledgers, and what it does to them."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import create_engine, delete, insert, make_url, select, text

from eos.core.ports import Ledger
from eos.stores.memory.ledger import MemoryLedger
from eos.stores.redis.ledger import RedisLedger
from eos.stores.sql.ledger import SqlLedger
from eos.stores.sql.ledger_tables import gaps, generations, owners, partitions, shards
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


class SqlRig:
    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(make_url(url).set(drivername=driver(url)))

    def ledger(self, *, window: int, generation: int) -> Ledger:
        self._ledger = SqlLedger(self.url, window=window, generation=generation)
        return self._ledger

    def lose(self) -> None:
        # Not by TRUNCATE, after which the table would lie in another file.
        with self.engine.begin() as connection:
            for table in (owners, generations, gaps, partitions, shards):
                connection.execute(delete(table))

    def restart(self) -> None:
        # A restart loses nothing, and is told from nothing. Another database with the same data
        # is one where a dump was loaded back.
        with self.engine.begin() as connection:
            kept = [dict(row) for row in connection.execute(select(shards)).mappings()]
            connection.execute(text("TRUNCATE eos_ledger_shards"))
            if kept:
                connection.execute(insert(shards), kept)


class SqliteRig(SqlRig):
    def __init__(self, file: Path) -> None:
        super().__init__(f"sqlite:///{file}")
        self._file = file
        self._restarts = 0

    def restart(self) -> None:
        # A copy takes the place of the file, while nobody has it open: whoever closes the old one
        # later would delete the WAL of the new one.
        self._ledger.close()
        self.engine.dispose()
        shutil.copy(self._file, self._file.with_suffix(".copy"))
        # The old one stays: a new file may get the number of one that is gone.
        self._restarts += 1
        self._file.rename(self._file.with_suffix(f".{self._restarts}"))
        self._file.with_suffix(".copy").rename(self._file)


def driver(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"


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
