"""The sidecar: how many events a second it pushes, and how late one comes.

Run it with `python -m tests.bench.sidecar`. The sidecar is a process of its own (`eos sidecar`),
and so is the app: a server of aiohttp that does nothing. Events have 1 KB. Late is what lies
between a record being committed, as its producer is told, and the app getting it.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

from aiohttp import web
from confluent_kafka import Producer

from eos.devstack import Stack, running
from eos.devstack.ports import free_ports
from tests.integration.cluster import Cluster, Input
from tests.integration.sidecar_kit import await_ready

VALUE = b"x" * 1000
PARTITIONS = 4
KEYS = 1000
WARM = 200


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    with running() as stack:
        for mode in ("binary", "structured", "batched"):
            for to in (None, "answers"):
                _throughput(stack, mode, to, arguments.events)
        for rate in (100, 500):
            _latency(stack, rate, arguments.seconds)


def _throughput(stack: Stack, mode: str, to: str | None, count: int) -> None:
    cluster = Cluster(stack.bootstrap_servers)
    topic = cluster.create("in", PARTITIONS)
    target = cluster.create(to, PARTITIONS) if to else ""
    inputs = [
        Input(f"{topic}-{n}", n % PARTITIONS, VALUE, b"%d" % (n % KEYS)) for n in range(count)
    ]
    cluster.send(topic, inputs)
    with _app() as url, _sidecar(stack, topic, url, mode, target) as group:
        while not _came(url):
            time.sleep(0.01)
        began = time.perf_counter()
        cluster.await_settled(group, topic, seconds=300)
        seconds = time.perf_counter() - began
    told = "with answers" if to else "plain"
    print(f"{mode:12} {told:13} {count / seconds:9,.0f} events/s")


def _latency(stack: Stack, rate: int, seconds: int) -> None:
    cluster = Cluster(stack.bootstrap_servers)
    topic, target = cluster.create("in", PARTITIONS), cluster.create("out")
    with _app() as url, _sidecar(stack, topic, url, "binary", target) as group:
        cluster.send(topic, [Input(f"warm-{n}", n % PARTITIONS, VALUE) for n in range(WARM)])
        cluster.await_settled(group, topic)
        sent: dict[str, float] = {}
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "linger.ms": 0})
        start = time.monotonic()
        for number in range(rate * seconds):
            while time.monotonic() < start + number / rate:
                producer.poll(0.0005)
            name = f"{topic}-{number}"

            def visible(_error: Any, _message: Any, name: str = name) -> None:
                sent[name] = time.time()

            headers: list[tuple[str, str | bytes | None]] = [("message-id", name.encode())]
            key = b"%d" % (number % KEYS)
            producer.produce(topic, VALUE, key, headers=headers, on_delivery=visible)
        producer.flush(30)
        cluster.await_settled(group, topic)
        times = _came(url)
        late = sorted((times[name] - sent[name]) * 1000 for name in sent if name in times)
    print(
        f"{rate:4} events/s: p50 {statistics.median(late):.1f} ms, "
        f"p99 {late[int(len(late) * 0.99)]:.1f} ms, of {len(late)}"
    )


@contextlib.contextmanager
def _app() -> Iterator[str]:
    (port,) = free_ports(1)
    process = multiprocessing.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.join(10)


def _came(url: str) -> dict[str, float]:
    """Ask the app when each event came."""
    with urlopen(url, timeout=30) as answer:  # noqa: S310 our own app
        times: dict[str, float] = json.load(answer)
    return times


def _serve(port: int) -> None:
    seen: dict[str, float] = {}

    async def answer(request: web.Request) -> web.Response:
        now = time.time()
        body = await request.read()
        if "batch" in request.headers["content-type"]:
            for each in json.loads(body):
                seen[each["idempotencykey"]] = now
        else:
            seen[request.headers["idempotency-key"].strip('"')] = now
        return web.Response(status=204)

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response(seen)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/", answer)
    app.router.add_get("/", tell)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


@contextlib.contextmanager
def _sidecar(stack: Stack, topic: str, url: str, mode: str, to: str) -> Iterator[str]:
    (port,) = free_ports(1)
    group = f"bench-{uuid.uuid4().hex[:8]}"
    variables = {
        "EOS_GROUP": group,
        "EOS_BROKERS": stack.bootstrap_servers,
        "EOS_LEDGER": stack.redis_url,
        "EOS_APP_URL": url,
        "EOS_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "EOS_DELIVER_TOPIC": topic,
        "EOS_DELIVER_MODE": mode,
        **({"EOS_DELIVER_TO": to} if to else {}),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "eos", "sidecar", "--log-level", "error"],
        env={**os.environ, **variables},
    )
    try:
        await_ready(f"http://127.0.0.1:{port}")
        yield group
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
