"""Workers, and the servers behind them, in a storm; whatever the group's protocol is.

For some seconds, at random: workers are killed, stopped for a while, drained and started again;
the ledger is restarted or emptied; connections to the broker break, and answers are lost.
Afterwards each record must have had its effect once, in the order of its partition.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Message

from eos.devstack import Stack
from eos.testing.proxy import ApiKey, KafkaProxy
from tests.integration.cluster import Cluster, Input
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.processes import Worker, quick

SECONDS = float(os.environ.get("EOS_STORM_SECONDS", "30"))
SEED = int(os.environ.get("EOS_STORM_SEED", str(random.SystemRandom().randrange(10**6))))
WORKERS = 3
PARTITIONS = 4
SENT_PER_SECOND = 100

PROTOCOLS: dict[str, dict[str, Any]] = {
    "cooperative": {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300},
    "eager": {
        "session.timeout.ms": 1500,
        "heartbeat.interval.ms": 300,
        "partition.assignment.strategy": "range",
    },
    "consumer": {"group.protocol": "consumer"},
}
LOSABLE = (
    ApiKey.PRODUCE,
    ApiKey.ADD_PARTITIONS_TO_TXN,
    ApiKey.ADD_OFFSETS_TO_TXN,
    ApiKey.TXN_OFFSET_COMMIT,
    ApiKey.END_TXN,
    ApiKey.INIT_PRODUCER_ID,
    ApiKey.OFFSET_FETCH,
    ApiKey.HEARTBEAT,
    ApiKey.JOIN_GROUP,
)


class Storm:
    """Does harm, and makes good what it did."""

    def __init__(self, seed: int, stack: Stack, proxy: KafkaProxy, workers: list[Worker]) -> None:
        self._chance = random.Random(seed)
        self._stack = stack
        self._proxy = proxy
        self._workers = workers
        self.log: list[str] = []

    def harm(self, *, lose_ledger: bool) -> None:
        """Do one thing, then wait for a moment."""
        kinds: list[Callable[[Worker], None]] = [
            self._kill,
            self._kill,
            self._stop_for_a_while,
            self._drain,
            self._lose_answers,
            self._delay,
            self._disconnect,
        ]
        if lose_ledger:
            kinds += [self._flush, self._restart_ledger]
        kind = self._chance.choice(kinds)
        self.log.append(kind.__name__)
        kind(self._chance.choice(self._workers))
        time.sleep(self._chance.uniform(0.2, 2.0))

    def calm(self) -> None:
        """End it: all faults are healed, all workers are there."""
        self._proxy.heal()
        for worker in self._workers:
            self._up(worker)

    def _up(self, worker: Worker) -> None:
        if worker.process is None or worker.process.poll() is not None:
            code = worker.process.poll() if worker.process else None
            assert code in {None, 0, -signal.SIGKILL}, worker.told()
            worker.start()

    def _kill(self, worker: Worker) -> None:
        assert worker.process is not None
        worker.process.kill()
        worker.process.wait()
        self._up(worker)

    def _drain(self, worker: Worker) -> None:
        worker.drain()
        self._up(worker)

    def _stop_for_a_while(self, worker: Worker) -> None:
        assert worker.process is not None
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(self._chance.choice([0.5, 2.5, 12.0]))  # session and transaction time-outs
        worker.go_on()

    def _lose_answers(self, _: Worker) -> None:
        key = self._chance.choice(LOSABLE)
        self._proxy.drop_responses(key, self._chance.randrange(1, 4))

    def _delay(self, _: Worker) -> None:
        key = self._chance.choice(LOSABLE)
        self._proxy.delay_requests(key, self._chance.uniform(0.1, 3.0), 2)

    def _disconnect(self, _: Worker) -> None:
        self._proxy.close_connections()

    def _flush(self, _: Worker) -> None:
        with redis.Redis.from_url(self._stack.redis_url) as client:
            client.flushall()

    def _restart_ledger(self, _: Worker) -> None:
        self._stack.redis.restart()


@pytest.fixture
def proxy(stack: Stack) -> Iterator[KafkaProxy]:
    with KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as opened:
        yield opened


@pytest.mark.timeout(400)
@pytest.mark.parametrize("lose_ledger", [False, True], ids=["ledger stays", "ledger is lost"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_lost_repeated_or_out_of_order_in_a_storm(
    stack: Stack,
    proxy: KafkaProxy,
    namespace: str,
    topic: Callable[..., str],
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    tmp_path: Path,
    protocol: str,
    *,
    lose_ledger: bool,
) -> None:
    settings = quick(stack.proxied_servers, stack.redis_url, namespace, kafka=PROTOCOLS[protocol])
    source, to = topic("orders", partitions=PARTITIONS), topic("receipts")
    inputs = with_copies(SEED, int(SECONDS * SENT_PER_SECOND), partitions=PARTITIONS)
    with ExitStack() as running:
        workers = [
            running.enter_context(
                Worker(settings, source, to, tmp_path / f"slot-{slot}", slot=slot)
            )
            for slot in range(WORKERS)
        ]
        storm = Storm(SEED, stack, proxy, workers)
        try:
            storm.calm()
            workers[0].await_note("Committed" if not inputs else "Assigned")
            began = time.monotonic()
            for part in _parts(inputs, began):
                cluster.send(source, part)
                storm.harm(lose_ledger=lose_ledger)
            storm.calm()
            cluster.await_settled(namespace, source, seconds=120)
            for worker in workers:
                worker.drain()
        finally:
            print("storm:", *storm.log)  # noqa: T201 shown when it fails

    outputs = read_committed(to)
    _tell_repeated(outputs)
    assert_exactly_once(inputs, outputs)
    assert_in_order(outputs)


def _parts(inputs: list[Input], began: float) -> Iterator[list[Input]]:
    """Spread the input over the time of the storm."""
    sent = 0
    while sent < len(inputs):
        due = min(len(inputs), int(len(inputs) * (time.monotonic() - began) / SECONDS) + 1)
        yield inputs[sent:due]
        sent = due


def _position(message: Message) -> str:
    found: Any = message.headers()
    return str(dict(found)["position"].decode())


def _tell_repeated(outputs: list[Message]) -> None:
    """Print where repeated effects come from, for a test that failed."""
    came_from: dict[bytes | None, list[str]] = {}
    for message in outputs:
        where = f"{_position(message)} as {message.offset()}"
        came_from.setdefault(message.value(), []).append(where)
    for value, places in came_from.items():
        if len(places) > 1:
            print(value, *places)  # noqa: T201 shown when it fails


def assert_in_order(outputs: list[Message]) -> None:
    """See that what came from one partition is in the order of that partition."""
    last: dict[str, int] = {}
    for message in outputs:
        position = _position(message)
        partition, offset = position.rsplit("/", 1)
        assert int(offset) > last.get(partition, -1), f"{position} after {last[partition]}"
        last[partition] = int(offset)
