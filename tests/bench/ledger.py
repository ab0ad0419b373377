"""Measure the ledgers: claims a second, CPU per claim, bytes per key.

    python -m tests.bench.ledger [--keys 100000 1000000] [--batches 500 1000] [--url redis://…]
                                 [--ledgers redis sqlite postgresql]

One client, one call at a time; without --url it starts servers of its own with default settings:
a Redis without persistence, a PostgreSQL that syncs each commit. SQLite syncs each commit as
well. Numbers of a busy machine mean little: the CPU columns move less.
"""

import argparse
import itertools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import redis
from sqlalchemy import delete, make_url, text

from eos.claim.digest import Digest, fingerprint
from eos.core.ports import Claimed, Claims, Ledger
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.devstack import running
from eos.stores.redis.ledger import RedisLedger
from eos.stores.sql import tables
from eos.stores.sql.connections import engine_of
from eos.stores.sql.ledger import SqlLedger
from eos.stores.sql.ledger_tables import generations, owners, partitions, shards
from tests.conformance.servers import redis_server

DAY = 86_400
NOON = 1_600_000_000
PARTITIONS = 4
KINDS = ("redis", "sqlite", "postgresql")

Batch = list[Claims]


class Row(NamedTuple):
    what: str
    keys: int
    batch: int
    per_second: float
    client_us: float
    server_us: float | None
    bytes_per_key: float | None

    def __str__(self) -> str:
        size = "" if self.bytes_per_key is None else f"{self.bytes_per_key:.1f}"
        server = "" if self.server_us is None else f"{self.server_us:.2f}"
        return (
            f"{self.what:<34}{self.keys:>10,}{self.batch:>7}{self.per_second:>12,.0f}"
            f"{self.client_us:>11.2f}{server:>11}{size:>11}"
        )


HEAD = f"{'':<34}{'keys':>10}{'batch':>7}{'claims/s':>12}{'client µs':>11}{'server µs':>11}{'bytes/key':>11}"  # noqa: E501


class Used(NamedTuple):
    """What a server has used: seconds of CPU, if it tells, and bytes."""

    cpu: float | None
    size: int


class Place(Protocol):
    """Where a ledger keeps what it knows."""

    ledger: Ledger

    def clear(self) -> None: ...

    def used(self) -> Used: ...


class OnRedis:
    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url)
        self.ledger: Ledger = RedisLedger(url, window=DAY)

    def clear(self) -> None:
        self.client.flushall()

    def used(self) -> Used:
        info = self.client.info()
        return Used(info["used_cpu_user"] + info["used_cpu_sys"], info["used_memory"])


class OnSql:
    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)
        tables.create(self._engine)
        self.ledger: Ledger = SqlLedger(url, window=DAY)

    def clear(self) -> None:
        with self._engine.begin() as connection:
            for table in (owners, generations, partitions, shards):
                if self._engine.dialect.name == "sqlite":
                    connection.execute(delete(table))
                else:
                    connection.execute(text(f"TRUNCATE {table.name}"))
        if self._engine.dialect.name == "sqlite":
            self._alone("VACUUM")

    def used(self) -> Used:
        if self._engine.dialect.name == "sqlite":
            self._alone("PRAGMA wal_checkpoint(TRUNCATE)")
            return Used(None, Path(str(make_url(self._engine.url).database)).stat().st_size)
        sizes = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE :names"
        with self._engine.connect() as connection:
            size = connection.execute(text(sizes), {"names": "eos_ledger_%s"}).scalar()
        return Used(None, int(size or 0))

    def _alone(self, statement: str) -> None:
        with self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))


class Bench:
    def __init__(self, place: Place) -> None:
        self._place = place
        self.ledger = place.ledger
        self._shards = itertools.count()
        self._random = random.Random(1)

    def shard(self) -> tuple[Shard, dict[int, int]]:
        """Give a shard that is open, and the epochs of its partitions."""
        self._place.clear()
        shard = Shard("bench", "group", str(next(self._shards)))
        recovery = self.ledger.lock(shard, "bench", 60)
        assert recovery
        assert self.ledger.open(shard, recovery, dict.fromkeys(range(PARTITIONS), 0), {})
        taken = self.ledger.take(shard, range(PARTITIONS))
        return shard, {p: t.epoch for p, t in taken.items()}

    def measure(self, what: str, keys: int, batch: int, work: Callable[[], object]) -> Row:
        before, client, begin = self._place.used(), time.process_time(), time.perf_counter()
        work()
        wall, cpu = time.perf_counter() - begin, time.process_time()
        after = self._place.used()
        server = None if before.cpu is None or after.cpu is None else after.cpu - before.cpu
        grown = after.size - before.size
        return Row(
            what,
            keys,
            batch,
            keys / wall,
            (cpu - client) / keys * 1e6,
            None if server is None else server / keys * 1e6,
            grown / keys if grown > keys else None,
        )

    def digests(self, n: int) -> Iterator[bytes]:
        return (self._random.randbytes(12) for _ in range(n))

    def claim(self, shard: Shard, batches: Iterable[Batch], want: Verdict) -> None:
        for batch in batches:
            answer = self.ledger.claim(shard, batch)
            assert isinstance(answer, Claimed), answer
            assert answer.verdicts[0] is want

    def prepared(
        self, epochs: dict[int, int], keys: int, size: int, first: int = 0, late: int = 0
    ) -> list[Batch]:
        """Give batches of so many records, spread over the partitions, each in one piece."""
        digests = self.digests(keys)
        share, batches = size // PARTITIONS, []
        for at in range(first, first + keys // PARTITIONS, share):
            batch = [Claims(p, epochs[p], first, at, at + share) for p in range(PARTITIONS)]
            for claims in batch:
                claims.offsets = list(range(at, at + share))
                claims.digests = list(itertools.islice(digests, share))
                claims.fingerprints = [7] * share
                claims.times = [NOON + late] * share
            batches.append(batch)
        return batches

    def prepared_digests(self, keys: int, size: int) -> Iterator[Row]:
        shard, epochs = self.shard()
        batches = self.prepared(epochs, keys, size)
        yield self.measure(
            "digests, first claims", keys, size, lambda: self.claim(shard, batches, Verdict.FRESH)
        )
        yield self.measure(
            "digests, claimed again", keys, size, lambda: self.claim(shard, batches, Verdict.AGAIN)
        )
        first = keys // PARTITIONS
        later = self.prepared(epochs, keys, size, first, late=DAY)
        yield self.measure(
            "digests, beside yesterday's",
            keys,
            size,
            lambda: self.claim(shard, later, Verdict.FRESH),
        )

    def raw(self, keys: int, size: int) -> Row:
        """Measure the way from keys and payloads of 1 KB to verdicts."""
        shard, epochs = self.shard()
        payloads = [os.urandom(1024) for _ in range(64)]
        records = [(f"order-{i}-{i * 7919}".encode(), payloads[i % 64]) for i in range(keys)]
        digest = Digest(b"secret")
        batches = self.prepared(epochs, keys, size)
        share = size // PARTITIONS

        def work() -> None:
            at = 0
            for batch in batches:
                for claims in batch:
                    taken = records[at : at + share]
                    at += share
                    claims.digests = [digest(key) for key, _ in taken]
                    claims.fingerprints = [fingerprint(value) for _, value in taken]
                answer = self.ledger.claim(shard, batch)
                assert isinstance(answer, Claimed)

        return self.measure("keys and 1 KB payloads", keys, size, work)

    def set_nx(self, keys: int, size: int) -> Iterator[Row]:
        """Measure what most do instead: SET NX EX in a pipeline; it knows no owner."""
        if not isinstance(self._place, OnRedis):
            return
        self._place.clear()
        client = self._place.client
        names = [digest.hex() for digest in self.digests(keys)]

        def work() -> None:
            for at in range(0, keys, size):
                pipeline = client.pipeline(transaction=False)
                for name in names[at : at + size]:
                    pipeline.set(name, b"1", nx=True, ex=DAY)
                pipeline.execute()

        yield self.measure("SET NX EX pipeline", keys, size, work)


@contextmanager
def place(kind: str, url: str | None) -> Iterator[Place]:
    if url:
        yield OnRedis(url) if url.startswith("redis") else OnSql(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield OnSql(f"sqlite:///{folder}/ledger.db")
        elif kind == "postgresql":
            with running(brokers=0, redis=False, postgres=True) as stack:
                yield OnSql(stack.postgres_url)
        else:
            with redis_server(Path(folder)) as started:
                yield OnRedis(started.url)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--batches", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--url", help="a server to use; everything in it is lost")
    parser.add_argument("--ledgers", nargs="+", default=KINDS, choices=KINDS)
    asked = parser.parse_args()
    for kind in ["given"] if asked.url else asked.ledgers:
        print(f"{kind:<34}{HEAD[34:]}")
        with place(kind, asked.url) as found:
            bench = Bench(found)
            for keys, size in itertools.product(asked.keys, asked.batches):
                for rows in (
                    bench.prepared_digests(keys, size),
                    [bench.raw(keys, size)],
                    bench.set_nx(keys, size),
                ):
                    for row in rows:
                        print(row, flush=True)


if __name__ == "__main__":
    main()
