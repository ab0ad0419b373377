"""Throughput of effects in a database: one small insert a record, beside a loop without eos.

Run it with `python -m tests.bench.inbox`. The same records, one process each, PostgreSQL with its
default settings and SQLite (WAL, `synchronous=FULL`): a bare loop that inserts and commits once
per 500 records and knows nothing of duplicates, and eos with its ledger on Redis or in the same
database. `batch`: the handler inserts its 500 records with one `executemany`; `array`: with one
statement, its values as arrays; `each`: the handler is called, and inserts, record by record.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from typing import Any

from confluent_kafka import Consumer
from sqlalchemy import Engine, create_engine, event, text

import eos
from eos.core.events import Settled
from eos.db import create
from eos.devstack import running
from tests.bench.pipeline import Clock, fill

BATCH = 500
EFFECT = text("INSERT INTO effects (id, amount) VALUES (:id, :amount)")
ARRAYS = text(
    "INSERT INTO effects (id, amount)"
    " SELECT * FROM unnest(CAST(:ids AS varchar[]), CAST(:amounts AS int[]))"
)
LEDGERS = ("bare", "redis", "same")
KINDS = {"postgresql": ("batch", "array", "each"), "sqlite": ("batch", "each")}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _child(*arguments.one)
        return
    with running(postgres=True) as stack, tempfile.TemporaryDirectory() as folder:
        fill(stack.bootstrap_servers, arguments.records)
        whats = [
            (name, kind, ledger) for name in KINDS for kind, ledger in product(KINDS[name], LEDGERS)
        ]
        for what in whats:
            results = []
            for number in range(arguments.rounds):
                name = "-".join((*what, str(number)))
                url = (
                    stack.postgres_url if what[0] == "postgresql" else f"sqlite:///{folder}/{name}"
                )
                told = {
                    "BENCH_RUN": name,
                    "BENCH_SERVERS": stack.bootstrap_servers,
                    "BENCH_REDIS": stack.redis_url,
                    "BENCH_DATABASE": url,
                    # Slow ones need not see all of it.
                    "BENCH_RECORDS": str(arguments.records // (4 if what[1] == "each" else 1)),
                }
                results.append(_measure(what, told))
            best = max(results, key=lambda result: result["rate"])
            print(
                f"{' '.join(what):26}{best['rate']:12,.0f}/s {best['cpu_us']:8.1f} us CPU a record",
                flush=True,
            )


def _measure(what: tuple[str, str, str], told: dict[str, str]) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.inbox", "--one", *what],
        env={**os.environ, **told},
        check=True,
        stdout=subprocess.PIPE,
    )
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


def _child(database: str, kind: str, ledger: str) -> None:
    url = os.environ["BENCH_DATABASE"].replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    if database == "sqlite":
        event.listen(engine, "connect", _durable)
    create(engine)
    with engine.begin() as db:
        db.execute(text("DROP TABLE IF EXISTS effects"))
        db.execute(text("CREATE TABLE effects (id VARCHAR(50), amount INTEGER)"))
    clock = Clock(int(os.environ["BENCH_RECORDS"]))
    if ledger == "bare":
        _bare(engine, kind, clock)
    else:
        _eos(engine, kind, os.environ["BENCH_REDIS"] if ledger == "redis" else url, clock)
    with engine.connect() as db:
        count, distinct = db.execute(text("SELECT count(*), count(DISTINCT id) FROM effects")).one()
    assert count == distinct, (count, distinct)
    print(json.dumps({"rate": clock.rate, "cpu_us": clock.cpu_us}))


def _durable(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")  # KiB; 2 MB by default


def _row(headers: Any) -> dict[str, Any]:
    return {"id": headers[0][1].decode(), "amount": 1}


def _insert(db: Any, kind: str, rows: list[dict[str, Any]]) -> None:
    if kind == "batch":
        db.execute(EFFECT, rows)
    elif kind == "array":
        given = {"ids": [row["id"] for row in rows], "amounts": [row["amount"] for row in rows]}
        db.execute(ARRAYS, given)
    else:
        for row in rows:
            db.execute(EFFECT, row)


def _bare(engine: Engine, kind: str, clock: Clock) -> None:
    """Consume, insert, commit: redeliveries and re-sends happen twice."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_SERVERS"],
            "group.id": os.environ["BENCH_RUN"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["in"])
    while clock.left > 0:
        messages = consumer.consume(BATCH, 0.1)
        if not messages:
            continue
        with engine.begin() as db:
            _insert(db, kind, [_row(message.headers()) for message in messages])
        consumer.commit(asynchronous=True)
        clock.handled(len(messages))
    clock.stop()
    consumer.close()


def _eos(engine: Engine, kind: str, ledger: str, clock: Clock) -> None:
    app = eos.App(
        group=os.environ["BENCH_RUN"],
        brokers=os.environ["BENCH_SERVERS"],
        ledger=ledger,
        batch_records=BATCH,
    )

    def each(record: eos.Record, db: Any) -> None:
        db.execute(EFFECT, _row(record.headers))

    def batch(records: list[eos.Record], db: Any) -> None:
        _insert(db, kind, [_row(record.headers) for record in records])

    handler: Callable[..., Any] = each if kind == "each" else batch
    app.step("in", into=engine, batch=kind != "each")(handler)

    def count(told: object) -> None:
        if isinstance(told, Settled):
            clock.handled(sum(sum(tally.verdicts.values()) for tally in told.tallies))

    app.work(stopping=lambda: clock.left <= 0, emit=count)
    clock.stop()


if __name__ == "__main__":
    main()
