"""Measure the Redis ledger: claims a second, CPU per claim, bytes per key.

    python -m tests.bench.ledger [--keys 100000 1000000] [--batches 500 1000] [--url redis://…]

One client, one call at a time; without --url it starts a redis-server of its own with default
settings, without persistence. Numbers of a busy machine mean little: the CPU columns move less.
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
from typing import Any, NamedTuple

import redis

from eos.claim.digest import Digest, fingerprint
from eos.core.ports import Claimed, Claims
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.stores.redis.ledger import RedisLedger
from tests.conformance.servers import redis_server

DAY = 86_400
NOON = 1_600_000_000
PARTITIONS = 4

Batch = list[Claims]


class Row(NamedTuple):
    what: str
    keys: int
    batch: int
    per_second: float
    client_us: float
    server_us: float
    bytes_per_key: float | None

    def __str__(self) -> str:
        size = "" if self.bytes_per_key is None else f"{self.bytes_per_key:.1f}"
        return (
            f"{self.what:<34}{self.keys:>10,}{self.batch:>7}{self.per_second:>12,.0f}"
            f"{self.client_us:>11.2f}{self.server_us:>11.2f}{size:>11}"
        )


HEAD = f"{'':<34}{'keys':>10}{'batch':>7}{'claims/s':>12}{'client µs':>11}{'server µs':>11}{'bytes/key':>11}"  # noqa: E501


class Bench:
    def __init__(self, url: str) -> None:
        self._url = url
        self._redis: Any = redis.Redis.from_url(url)
        self.ledger = RedisLedger(url, window=DAY)
        self._shards = itertools.count()
        self._random = random.Random(1)

    def shard(self) -> tuple[Shard, dict[int, int]]:
        """Give a shard that is open, and the epochs of its partitions."""
        self._redis.flushall()
        shard = Shard("bench", "group", str(next(self._shards)))
        recovery = self.ledger.lock(shard, "bench", 60)
        assert recovery
        assert self.ledger.open(shard, recovery, dict.fromkeys(range(PARTITIONS), 0), {})
        taken = self.ledger.take(shard, range(PARTITIONS))
        return shard, {p: t.epoch for p, t in taken.items()}

    def measure(self, what: str, keys: int, batch: int, work: Callable[[], object]) -> Row:
        before, client, begin = self._redis.info(), time.process_time(), time.perf_counter()
        work()
        wall, cpu, after = time.perf_counter() - begin, time.process_time(), self._redis.info()
        server = sum(after[k] - before[k] for k in ("used_cpu_user", "used_cpu_sys"))
        grown = after["used_memory"] - before["used_memory"]
        return Row(
            what,
            keys,
            batch,
            keys / wall,
            (cpu - client) / keys * 1e6,
            server / keys * 1e6,
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

    def set_nx(self, keys: int, size: int) -> Row:
        """Measure what most do instead: SET NX EX in a pipeline; it knows no owner."""
        self._redis.flushall()
        names = [digest.hex() for digest in self.digests(keys)]

        def work() -> None:
            for at in range(0, keys, size):
                pipeline = self._redis.pipeline(transaction=False)
                for name in names[at : at + size]:
                    pipeline.set(name, b"1", nx=True, ex=DAY)
                pipeline.execute()

        return self.measure("SET NX EX pipeline", keys, size, work)


@contextmanager
def server(url: str | None) -> Iterator[str]:
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as started:
        yield started.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--batches", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--url", help="a Redis to use; everything in it is lost")
    asked = parser.parse_args()
    print(HEAD)
    with server(asked.url) as url:
        bench = Bench(url)
        for keys, size in itertools.product(asked.keys, asked.batches):
            for row in (
                *bench.prepared_digests(keys, size),
                bench.raw(keys, size),
                bench.set_nx(keys, size),
            ):
                print(row, flush=True)


if __name__ == "__main__":
    main()
