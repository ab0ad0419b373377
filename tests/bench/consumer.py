"""The loop around a consumer, bare and wrapped, on real Kafka and Redis.

Both sides commit every 100 ms. A loop reads the whole topic; what is told is records a second
from the first record on, the best of three runs taken in turn, and the CPU of this process.

    python -m tests.bench.consumer --records 400000
"""

import argparse
import json
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Producer

import eos
from eos.devstack import running
from tests.integration.cluster import Cluster

BODY = json.dumps({"order": {"id": "x" * 32}, "lines": [{"sku": i, "n": 1} for i in range(44)]})
RUNS = 3
INTERVAL_MS = 100

Handle = Callable[[Any], object]


def nothing(_message: object) -> None:
    """Handle a record with an empty body."""


def decode(message: Any) -> object:
    """Handle a record as most loops do: read its JSON."""
    return json.loads(message.value())


def main() -> None:
    """Run all comparisons and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=400_000)
    records = parser.parse_args().records
    with running() as stack:
        cluster = Cluster(stack.bootstrap_servers)
        plain = cluster.create("plain", partitions=4)
        keyed = cluster.create("keyed", partitions=4)
        fill(stack.bootstrap_servers, plain, records, keyed=False)
        fill(stack.bootstrap_servers, keyed, records, keyed=True)
        print(f"{len(BODY)} bytes of JSON a record, {records} records, {os.cpu_count()} CPUs")
        for name, topic, loop, handle in (
            ("consume(500), no keys, empty body", plain, by_batch, nothing),
            ("poll(), no keys, empty body", plain, one_by_one, nothing),
            ("consume(500), keys, empty body", keyed, by_batch, nothing),
            ("consume(500), keys, JSON", keyed, by_batch, decode),
            ("poll(), keys, JSON", keyed, one_by_one, decode),
        ):
            compare(stack, name, topic, records, loop, handle)


def compare(stack: Any, name: str, topic: str, records: int, loop: Any, handle: Handle) -> None:
    """Run both sides in turn, and print the best of each."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(RUNS):
        for side, make in (("bare", bare), ("eos", wrapped)):
            consumer = make(stack)
            consumer.subscribe([topic])
            best[side] = max(best.get(side, (0.0, 0.0)), loop(consumer, records, handle))
            consumer.close()
    (bare_rate, bare_cpu), (eos_rate, eos_cpu) = best["bare"], best["eos"]
    print(
        f"{name:36} bare {bare_rate:9,.0f}/s {bare_cpu:5.2f} µs   "
        f"eos {eos_rate:9,.0f}/s {eos_cpu:5.2f} µs   ratio {eos_rate / bare_rate:.2f}",
        flush=True,
    )


def configuration(stack: Any) -> dict[str, Any]:
    """Give the configuration of both sides."""
    return {
        "bootstrap.servers": stack.bootstrap_servers,
        "group.id": f"bench-{uuid.uuid4().hex[:8]}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": True,
        "auto.commit.interval.ms": INTERVAL_MS,
    }


def bare(stack: Any) -> Any:
    """Make the consumer that everybody has."""
    return Consumer(configuration(stack))


def wrapped(stack: Any) -> Any:
    """Make ours."""
    return eos.Consumer(configuration(stack), ledger=stack.redis_url)


def by_batch(consumer: Any, records: int, handle: Handle) -> tuple[float, float]:
    """Read with `consume`; give records a second, and CPU microseconds a record."""
    first = consumer.consume(1, 30)
    seen, began, used = len(first), time.perf_counter(), time.process_time()
    while seen < records:
        messages = consumer.consume(500, 0.1)
        seen += len(messages)
        if handle is not nothing:
            for message in messages:
                handle(message)
    return _rates(seen, began, used)


def one_by_one(consumer: Any, records: int, handle: Handle) -> tuple[float, float]:
    """Read with `poll`."""
    consumer.poll(30)
    seen, began, used = 1, time.perf_counter(), time.process_time()
    while seen < records:
        message = consumer.poll(1)
        if message is not None:
            seen += 1
            if handle is not nothing:
                handle(message)
    return _rates(seen, began, used)


def _rates(seen: int, began: float, used: float) -> tuple[float, float]:
    rate = seen / (time.perf_counter() - began)
    return rate, (time.process_time() - used) / seen * 1e6


def fill(brokers: str, topic: str, records: int, *, keyed: bool) -> None:
    """Write the records."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "batch.size": 500_000})
    for n in range(records):
        headers: Any = [("message-id", b"%016x" % n)] if keyed else None
        while True:
            try:
                producer.produce(topic, BODY.encode(), partition=n // 100 % 4, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


if __name__ == "__main__":
    main()
