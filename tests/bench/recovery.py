"""How fast a lost ledger is rebuilt: records of 1 KB, settled and then forgotten by Redis.

Run it with `python -m tests.bench.recovery`. The group's offsets stand at the end of a topic of
four partitions; workers, a process each, join on an empty Redis, read all of it again together, and
put the owners back: first one worker, then two, each with a group of its own. Then Redis is
restarted with its data, and the workers look whether it lost anything.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
from confluent_kafka import Consumer, TopicPartition

from eos import build
from eos.core.events import Assigned, Event, Recovered
from eos.core.frontier import Frontier
from eos.core.keys import standard
from eos.core.record import Record
from eos.core.settings import Settings
from eos.devstack import Stack, running
from eos.devstack.waiting import wait_until
from tests.bench.pipeline import PARTITIONS, fill
from tests.integration.cluster import Cluster, Input
from tests.integration.lines import step

SECONDS = 120.0


def main() -> None:
    """Measure, and print what is seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--key-us", type=int, default=0, help="what reading a key costs, more")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _work(json.loads(arguments.one))
        return
    with running() as stack:
        fill(stack.bootstrap_servers, arguments.records)
        for number in range(arguments.rounds):
            for count in arguments.workers:
                _measure(stack, count, f"of-{count}-{number}", arguments.key_us)


def _measure(stack: Stack, count: int, group: str, key_us: int) -> None:
    cluster = Cluster(stack.bootstrap_servers)
    to = cluster.create("out")
    conf: dict[str, Any] = {
        "group": group,
        "brokers": stack.bootstrap_servers,
        "ledger": stack.redis_url,
    }
    _settle(Settings(**conf))
    with ExitStack() as workers:
        told = [
            workers.enter_context(_worker({**conf, "to": to, "slot": slot, "key_us": key_us}))
            for slot in range(count)
        ]
        _await(told, "Assigned", PARTITIONS)
        for what in ("nothing left", "all still there"):
            calm, busy = [len(each) for each in told], _redis_cpu(stack)
            cluster.send("in", [Input(f"{group} {what} {n}", n) for n in range(PARTITIONS)])
            cluster.await_settled(group, "in", SECONDS)
            found = [
                note
                for each, before in zip(told, calm, strict=True)
                for note in each[before:]
                if note["what"] == "Recovered"
            ]
            _tell(f"{count} at work, {what}", found, _redis_cpu(stack) - busy)
            stack.redis.restart()


def _tell(what: str, found: list[dict[str, Any]], redis_seconds: float) -> None:
    records = sum(note["records"] for note in found)
    seconds = max(n["at"] for n in found) - min(n["at"] - n["seconds"] for n in found)
    each = ", ".join(f"{note['records']:,} in {note['seconds']:.2f} s" for note in found)
    rate = records / seconds
    cpu = sum(note["cpu"] for note in found) / records * 1e6, redis_seconds / records * 1e6
    print(
        f"{what:28} {records:9,} records in {seconds:6.2f} s: {rate:9,.0f}/s ({each}); "
        f"CPU a record: workers {cpu[0]:.1f} us, Redis {cpu[1]:.1f} us"
    )


def _redis_cpu(stack: Stack) -> float:
    with redis.Redis.from_url(stack.redis_url) as client:
        found = client.info("cpu")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def _await(told: list[list[dict[str, Any]]], what: str, count: int) -> None:
    """Wait until all have told it, and so many partitions are in somebody's hands."""

    def there() -> bool:
        notes = [[note for note in each if note["what"] == what] for each in told]
        return all(notes) and sum(each[-1]["count"] for each in notes) >= count

    if not wait_until(there, seconds=SECONDS):
        raise SystemExit(f"waited in vain for {what}")


def _settle(settings: Settings) -> None:
    """Let the group stand at the end of the topic."""
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": settings.group})
    ends = [
        TopicPartition(
            "in",
            number,
            end := consumer.get_watermark_offsets(TopicPartition("in", number))[1],
            Frontier(end).metadata,
        )
        for number in range(PARTITIONS)
    ]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()


@contextmanager
def _worker(order: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Run a worker in a process of its own; give what it tells."""
    command = [sys.executable, "-m", "tests.bench.recovery", "--one", json.dumps(order)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    told: list[dict[str, Any]] = []

    def listen() -> None:
        assert process.stdout
        for line in process.stdout:
            told.append(json.loads(line))  # noqa: PERF401 - they are looked at one by one

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield told
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(SECONDS)


def _work(order: dict[str, Any]) -> None:
    """Work until nobody listens any more."""
    to, slot, stopping = order.pop("to"), order.pop("slot"), threading.Event()
    began, seconds = 0.0, order.pop("key_us") / 1e6

    def key(record: Record) -> bytes | None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return standard(record)

    settings = Settings(**order, key=key if seconds else None)

    def emit(event: Event) -> None:
        nonlocal began
        if isinstance(event, Assigned):
            began = time.process_time()
            _say("Assigned", count=len(event.partitions))
        elif isinstance(event, Recovered):
            cpu = time.process_time() - began
            _say("Recovered", records=event.records, seconds=event.seconds, cpu=cpu)

    def wait() -> None:
        sys.stdin.read()
        stopping.set()

    threading.Thread(target=wait, daemon=True).start()
    ports = build.adapters(settings, slot, emit)
    build.line(settings, [step("in", to)], ports, emit).run(stopping.is_set)
    ports.ledger.close()


def _say(what: str, **about: Any) -> None:
    print(json.dumps({"what": what, "at": time.time(), **about}), flush=True)


if __name__ == "__main__":
    main()
