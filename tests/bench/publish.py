"""The sidecar: how many calls to publish it answers a second, and how long one takes.

Run it with `python -m tests.bench.publish`. The sidecar is a process of its own (`eos sidecar`),
and so is the client. Bodies have 1 KB, each call has a key of its own. First callers that wait for
each answer before they call again; then calls that come at a steady rate, whatever the answers do.
A call takes from when it was due, not from when it was sent.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from eos.devstack import Stack, running
from eos.devstack.ports import free_ports
from tests.integration.cluster import Cluster
from tests.integration.sidecar_kit import await_ready

BODY = b"x" * 1000
WARM = 300


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rates", type=int, nargs="*", default=[200, 1000])
    parser.add_argument("--callers", type=int, nargs="*", default=[1, 20, 100])
    arguments = parser.parse_args()
    with running() as stack, _sidecar(stack) as url:
        for callers in arguments.callers:
            took, seconds = _measured(_closed, url, callers, arguments.seconds)
            _print(f"{callers} callers", took, seconds)
        for rate in arguments.rates:
            took, seconds = _measured(_open, url, rate, arguments.seconds)
            _print(f"{rate} calls/s", took, seconds)


def _print(what: str, took: list[float], seconds: float) -> None:
    late = sorted(took)
    print(
        f"{what:14} {len(late) / seconds:7,.0f} answers/s, "
        f"p50 {statistics.median(late) * 1000:.1f} ms, "
        f"p99 {late[int(len(late) * 0.99)] * 1000:.1f} ms, "
        f"longest {late[-1] * 1000:.0f} ms"
    )


def _measured(work: object, *arguments: object) -> tuple[list[float], float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: tuple[list[float], float] = pool.apply(_run, (work, *arguments))
        return found


def _run(work: object, url: str, count: int, seconds: int) -> tuple[list[float], float]:
    return asyncio.run(work(url, count, seconds))  # type: ignore[operator,no-any-return]


async def _closed(url: str, callers: int, seconds: int) -> tuple[list[float], float]:
    took: list[float] = []
    async with _session() as session:
        await asyncio.gather(*(_call(session, url) for _ in range(WARM)))
        began = time.perf_counter()

        async def caller() -> None:
            while (now := time.perf_counter()) < began + seconds:
                await _call(session, url)
                took.append(time.perf_counter() - now)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return took, time.perf_counter() - began


async def _open(url: str, rate: int, seconds: int) -> tuple[list[float], float]:
    took: list[float] = []
    async with _session() as session:
        await asyncio.gather(*(_call(session, url) for _ in range(WARM)))
        began = time.perf_counter()

        async def call(due: float) -> None:
            await _call(session, url)
            took.append(time.perf_counter() - due)

        calls = []
        for number in range(rate * seconds):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            calls.append(asyncio.ensure_future(call(due)))
        await asyncio.gather(*calls)
        return took, time.perf_counter() - began


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=500))


async def _call(session: aiohttp.ClientSession, url: str) -> None:
    headers = {"idempotency-key": uuid.uuid4().hex, "content-type": "text/plain"}
    async with session.post(url, data=BODY, headers=headers) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status} {await response.text()}")
        await response.read()


@contextmanager
def _sidecar(stack: Stack) -> Iterator[str]:
    topic = Cluster(stack.bootstrap_servers).create("out", 4)
    (port,) = free_ports(1)
    variables = {
        "EOS_GROUP": f"bench-{uuid.uuid4().hex[:8]}",
        "EOS_BROKERS": stack.bootstrap_servers,
        "EOS_LEDGER": stack.redis_url,
        "EOS_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "EOS_PUBLISH_TOPICS": topic,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "eos", "sidecar", "--log-level", "error"],
        env={**os.environ, **variables},
    )
    try:
        await_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}/v1/topics/{topic}"
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
