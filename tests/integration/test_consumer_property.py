"""Random calls, bare and wrapped: the answers differ by the duplicates only."""

import os
import random
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

import eos
from tests.integration.cluster import Cluster
from tests.integration.consumer_follower import Follower
from tests.integration.consumer_scripts import Mode, copies, random_script

PARTITIONS = 3
DISTINCT = 45
CALLS = 25
SCRIPTS = int(os.environ.get("EOS_SCRIPTS", "48"))
SEED = int(os.environ.get("EOS_SEED", "48"))  # `make fault` gives one of its own to each run
AT_ONCE = 8
MODES = [
    Mode(auto_commit=True, auto_store=True),
    Mode(auto_commit=False, auto_store=True),
    Mode(auto_commit=False, auto_store=False),
    Mode(auto_commit=True, auto_store=False),
]
Make = Callable[[dict[str, Any]], Any]


def bare(conf: dict[str, Any]) -> Any:
    """Make the consumer that everybody has."""
    return Consumer(conf)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_random_calls_give_what_the_log_says_minus_the_duplicates(
    cluster: Cluster, bootstrap_servers: str, redis_url: str, wrapped: bool
) -> None:
    print(f"seeds {SEED} to {SEED + SCRIPTS - 1}")  # noqa: T201 pytest shows it for a failure
    inputs = copies(random.Random(SEED), PARTITIONS, DISTINCT)
    topic = cluster.create("scripts", PARTITIONS)
    cluster.send(topic, inputs)
    log = [[str(each.id) for each in inputs if each.partition == p] for p in range(PARTITIONS)]

    def ours(conf: dict[str, Any]) -> Any:
        return eos.Consumer(conf, ledger=redis_url, batch_records=10)

    def run(seed: int) -> None:
        mode = MODES[seed % len(MODES)]
        conf = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"script-{seed}-{uuid.uuid4().hex[:8]}",
            **mode.conf,
        }
        make = ours if wrapped else bare
        follower = Follower(topic, log, lambda: reading(make(conf), topic), mode, wrapped)
        follower.run(random_script(random.Random(seed), CALLS))

    with ThreadPoolExecutor(AT_ONCE) as scripts:
        for _ in scripts.map(run, range(SEED, SEED + SCRIPTS)):
            pass


def committed(consumer: Any, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Read committed offsets; many groups at once keep their coordinator busy for a moment."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return list(consumer.committed(partitions, 10))
        except KafkaException:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def reading(consumer: Any, topic: str) -> Any:
    """Assign all partitions, without waiting for a group."""
    partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    if isinstance(consumer, Consumer):
        # From plain numbers: the bare client may resolve a logical offset once more, and jump.
        found = committed(consumer, partitions)
        partitions = [TopicPartition(topic, p.partition, max(0, p.offset)) for p in found]
    consumer.assign(partitions)
    return consumer
