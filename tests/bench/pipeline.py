"""Throughput of consume → transform → produce at 1 KB, beside two loops without eos.

Run it with `python -m tests.bench.pipeline`. Three loops, one after the other in one run, on the
same broker and over the same records: a bare consume-produce loop, a bare transactional loop
that commits every 100 ms, and eos with the Redis ledger, likewise every 100 ms. One process
each. CPU time is the loop's own process; brokers and Redis share the machine with it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

import eos
from eos.core.events import Committed, Event
from eos.devstack import running

PARTITIONS = 4
VALUE_BYTES = 1024
INTERVAL = 0.1
BATCH = 500


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _child(arguments.one, arguments.records)
        return
    with running() as stack:
        fill(stack.bootstrap_servers, arguments.records)
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in LOOPS}
        for number in range(arguments.rounds):
            for name in LOOPS:
                rows[name].append(
                    _measure(name, number, stack.bootstrap_servers, stack.redis_url, arguments)
                )
                print(name, rows[name][-1], flush=True)
    print(f"{'loop':32} {'records/s':>12} {'of transactional':>17} {'CPU us/record':>14}")
    best = {name: max(results, key=lambda r: r["rate"]) for name, results in rows.items()}
    for name, result in best.items():
        share = result["rate"] / best["bare transactional"]["rate"]
        print(f"{name:32} {result['rate']:12,.0f} {share:17.2f} {result['cpu_us']:14.1f}")


def fill(servers: str, records: int) -> None:
    """Publish the input, each record with an id in a header."""
    admin = AdminClient({"bootstrap.servers": servers})
    for made in admin.create_topics([NewTopic("in", PARTITIONS)]).values():
        made.result(30)
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
    )
    value = os.urandom(VALUE_BYTES)
    for number in range(records):
        producer.produce(
            "in",
            value,
            partition=number % PARTITIONS,
            headers=[("message-id", b"order-%012d" % number)],
        )
        if number % 10_000 == 0:
            producer.poll(0)
            while len(producer) > 500_000:
                producer.poll(0.1)
    producer.flush()


def _measure(
    name: str, number: int, servers: str, redis_url: str, arguments: argparse.Namespace
) -> dict[str, float]:
    run = f"{name.replace(' ', '-').replace('+', '')}-{number}"
    admin = AdminClient({"bootstrap.servers": servers})
    for made in admin.create_topics([NewTopic(f"{run}-out", PARTITIONS)]).values():
        made.result(30)
    environment = {
        **os.environ,
        "BENCH_RUN": run,
        "BENCH_SERVERS": servers,
        "BENCH_REDIS": redis_url,
    }
    command = [sys.executable, "-m", "tests.bench.pipeline", "--one", name]
    command += ["--records", str(arguments.records)]
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    for gone in admin.delete_topics([f"{run}-out"]).values():
        gone.result(30)
    return result


class Clock:
    """Measures from the first record to the last, wall and CPU."""

    def __init__(self, records: int) -> None:
        self.left = records
        self._records = records
        self._began: tuple[float, float] | None = None
        self.rate = self.cpu_us = 0.0

    def handled(self, count: int) -> None:
        """Count records; the first batch starts the clock."""
        if self._began is None:
            self._began = (time.monotonic(), _cpu())
            self._records -= count
        self.left -= count

    def stop(self) -> None:
        """Stop it."""
        if self._began:
            wall, cpu = time.monotonic() - self._began[0], _cpu() - self._began[1]
            self.rate = self._records / wall
            self.cpu_us = cpu / self._records * 1e6


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _consumer() -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_SERVERS"],
            "group.id": os.environ["BENCH_RUN"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe(["in"])
    return consumer


def bare(clock: Clock) -> None:
    """Consume and produce; commit offsets every 100 ms."""
    consumer, topic = _consumer(), f"{os.environ['BENCH_RUN']}-out"
    producer = Producer(
        {
            "bootstrap.servers": os.environ["BENCH_SERVERS"],
            "linger.ms": 5,
            "queue.buffering.max.messages": 500_000,
            "delivery.report.only.error": True,
        }
    )
    due, pending = 0.0, False
    while clock.left > 0:
        messages = consumer.consume(BATCH, 0.02)
        if messages:
            clock.handled(len(messages))
            due, pending = due if pending else time.monotonic() + INTERVAL, True
        for message in messages:
            _produce(producer, topic, message)
        if pending and time.monotonic() >= due:
            producer.flush()
            consumer.commit(asynchronous=False)
            pending = False
    producer.flush()
    clock.stop()
    consumer.close()


def bare_transactional(clock: Clock) -> None:
    """Consume and produce in transactions of 100 ms, without deduplication."""
    consumer, topic = _consumer(), f"{os.environ['BENCH_RUN']}-out"
    producer = Producer(
        {
            "bootstrap.servers": os.environ["BENCH_SERVERS"],
            "linger.ms": 5,
            "queue.buffering.max.messages": 500_000,
            "delivery.report.only.error": True,
            "transactional.id": os.environ["BENCH_RUN"],
            "retry.backoff.ms": 20,
        }
    )
    producer.init_transactions()
    while clock.left > 0:
        producer.begin_transaction()
        due = time.monotonic() + INTERVAL
        ends: dict[int, int] = {}
        while time.monotonic() < due and clock.left > 0:
            messages = consumer.consume(BATCH, 0.02)
            if messages:
                clock.handled(len(messages))
            for message in messages:
                _produce(producer, topic, message)
                ends[message.partition() or 0] = (message.offset() or 0) + 1
        producer.send_offsets_to_transaction(
            [TopicPartition("in", partition, end) for partition, end in ends.items()],
            consumer.consumer_group_metadata(),
        )
        producer.commit_transaction()
    clock.stop()
    consumer.close()


def with_eos(clock: Clock, **settings: object) -> None:
    """Eos with the Redis ledger, a handler that passes the value on."""
    run = os.environ["BENCH_RUN"]
    app = eos.App(
        group=run,
        brokers=os.environ["BENCH_SERVERS"],
        ledger=os.environ["BENCH_REDIS"],
        instance="bench",
        batch_records=BATCH,
        commit_interval=INTERVAL,
        **settings,
    )

    @app.step("in", to=f"{run}-out")
    def pass_on(record: eos.Record) -> eos.Send:
        return eos.Send(record.value)

    def tell(event: Event) -> None:
        if isinstance(event, Committed):
            clock.handled(sum(sum(tally.verdicts.values()) for tally in event.tallies))

    app.work(stopping=lambda: clock.left <= 0, emit=tell)
    clock.stop()


LOOPS: dict[str, Callable[[Clock], None]] = {
    "bare": bare,
    "bare transactional": bare_transactional,
    "eos": with_eos,
}


def _produce(producer: Producer, topic: str, message: object) -> None:
    value, headers = message.value(), message.headers()  # type: ignore[attr-defined]
    while True:
        try:
            producer.produce(topic, value, headers=headers)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _child(name: str, records: int) -> None:
    clock = Clock(records)
    with _profiled():
        LOOPS[name](clock)
    print(json.dumps({"rate": clock.rate, "cpu_us": clock.cpu_us}))


@contextmanager
def _profiled() -> Iterator[None]:
    """Write a profile where BENCH_PROFILE says."""
    target = os.environ.get("BENCH_PROFILE")
    if target is None:
        yield
        return
    import cProfile  # noqa: PLC0415 only when asked for

    profile = cProfile.Profile()
    profile.enable()
    yield
    profile.disable()
    profile.dump_stats(target)


if __name__ == "__main__":
    main()
