"""The outbox: how fast a relay is, how late a message comes, what adding one costs.

Run it with `python -m tests.bench.outbox`. The relay is a process of its own (`eos relay`); rows
have 1 KB; a consumer with `isolation.level=read_committed` says when a message is there.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer
from sqlalchemy import Engine, create_engine, event, text

import eos
from eos.db import create
from eos.devstack import running
from tests.integration.cluster import Cluster

VALUE = os.urandom(1024)
STATEMENTS = 10
TRANSACTIONS = 2_000
WARM = 200


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--messages", type=int, default=1_000)
    arguments = parser.parse_args()
    with running(postgres=True) as stack, tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(stack.bootstrap_servers)
        for url in (stack.postgres_url, f"sqlite:///{folder}/outbox.db"):
            engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
            name = engine.dialect.name
            if name == "sqlite":
                event.listen(engine, "connect", _durable)
            create(engine)
            _adding(engine)
            topic = cluster.create("out", partitions=4)
            _backlog(engine, stack.bootstrap_servers, url, topic, arguments.rows)
            _latency(engine, stack.bootstrap_servers, url, topic, arguments.messages)


def _durable(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _adding(engine: Engine) -> None:
    """Time transactions of ten small updates, and the same with one message; in turn."""
    outbox = eos.Outbox(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)"))
        rows = [{"id": number} for number in range(1000)]
        db.execute(text("INSERT INTO accounts VALUES (:id, 0)"), rows)
    update = text("UPDATE accounts SET balance = balance + 1 WHERE id = :id")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * (TRANSACTIONS + WARM)):
        adds = bool(number % 2)
        began = time.perf_counter()
        with engine.begin() as db:
            for statement in range(STATEMENTS):
                db.execute(update, {"id": (number * STATEMENTS + statement) % 1000})
            if adds:
                outbox.add(db, "out", VALUE, key=str(number))
        if number >= 2 * WARM:
            seconds[adds].append(time.perf_counter() - began)
    bare, with_one = (statistics.median(seconds[adds]) * 1000 for adds in (False, True))
    print(
        f"{engine.dialect.name:12} a transaction of {STATEMENTS} statements {bare:.3f} ms, with "
        f"outbox.add {with_one:.3f} ms: +{(with_one / bare - 1) * 100:.1f} %",
        flush=True,
    )
    with engine.begin() as db:
        db.execute(text("DELETE FROM eos_outbox"))


def _backlog(engine: Engine, servers: str, url: str, topic: str, rows: int) -> None:
    """Time how fast a relay empties an outbox."""
    outbox = eos.Outbox(engine)
    for start in range(0, rows, 10_000):
        with engine.begin() as db:
            some = range(start, min(rows, start + 10_000))
            outbox.add_all(db, [eos.Send(VALUE, topic, key=str(number)) for number in some])
    consumer = _consumer(servers, topic)
    with _relay(servers, url, engine.dialect.name):
        seen, began, first = 0, 0.0, 0
        while seen < rows:
            messages = consumer.consume(1000, 1.0)
            if messages and not began:
                began, first = time.monotonic(), len(messages)
            seen += len(messages)
        rate = (rows - first) / (time.monotonic() - began)
    consumer.close()
    print(f"{engine.dialect.name:12} relay {rate:,.0f} rows/s", flush=True)


def _latency(engine: Engine, servers: str, url: str, topic: str, messages: int) -> None:
    """Time from the commit to a reader of committed messages, one message at a time."""
    outbox = eos.Outbox(engine)
    consumer = _consumer(servers, topic)
    waits = []
    with _relay(servers, url, engine.dialect.name):
        for number in range(messages + 20):
            with engine.begin() as db:
                wanted = outbox.add(db, topic, VALUE, key=str(number)).encode()
            began = time.perf_counter()
            while (message := consumer.poll(10)) is None or (
                message.error() or dict(message.headers() or ())["message-id"] != wanted
            ):
                pass
            waits.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)  # so that the relay is idle again
    consumer.close()
    waits = sorted(waits[20:])  # the first ones open connections
    p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    print(f"{engine.dialect.name:12} commit to visible p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def _consumer(servers: str, topic: str) -> Consumer:
    """Give a reader of committed messages at the end of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"bench-{time.time_ns()}",
            "auto.offset.reset": "latest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
        }
    )
    consumer.subscribe([topic])
    while not consumer.assignment():
        consumer.poll(0.1)
    for partition in consumer.assignment():
        partition.offset = consumer.get_watermark_offsets(partition)[1]
        consumer.seek(partition)
    return consumer


@contextmanager
def _relay(servers: str, url: str, namespace: str) -> Iterator[None]:
    relay = subprocess.Popen(
        [sys.executable, "-m", "eos", "relay", "--log-level", "warning"],
        env={
            **os.environ,
            "EOS_OUTBOX": url,
            "EOS_BROKERS": servers,
            "EOS_NAMESPACE": namespace,
        },
    )
    try:
        yield
    finally:
        relay.send_signal(signal.SIGTERM)
        relay.wait(60)


if __name__ == "__main__":
    main()
