"""Sidecars and Node.js apps that are killed: outputs exactly once, in the order of each key."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster
from tests.integration.sidecar_callers import Callers
from tests.integration.sidecar_crew import PARTITIONS, Crew
from tests.integration.sidecar_kit import await_ready

KILLS = int(os.environ.get("EOS_SIDECAR_KILLS", "5"))
KEYS = int(os.environ.get("EOS_SIDECAR_KEYS", "300"))
SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**6))))


@pytest.fixture
def crew(
    cluster: Cluster,
    redis_url: str,
    namespace: str,
    topic: Callable[..., str],
    tmp_path: Path,
) -> Crew:
    source, to = topic("orders", partitions=PARTITIONS), topic("receipts", partitions=2)
    return Crew(cluster, redis_url, namespace, source, to, tmp_path)


@pytest.mark.timeout(KILLS * 60 + 300)
def test_outputs_are_exact_after_kills_of_sidecars_and_apps(crew: Crew) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 pytest shows it for a test that failed
    with crew:
        crew.storm(KILLS, SEED)
        crew.await_all()
    crew.assert_exact()


def test_a_sidecar_that_is_asked_to_end_finishes_what_it_began(crew: Crew) -> None:
    with crew:
        for url in crew.urls:
            await_ready(url)
        crew.send(200)
        crew.await_handled(20)
        assert [each.end() for each in crew.sidecars] == [0, 0]
        for each in crew.sidecars:
            each.start()
        crew.await_all()
    crew.assert_exact()


@pytest.mark.timeout(KILLS * 60 + KEYS + 300)
def test_each_key_is_published_once_for_clients_that_ask_again_and_again(
    cluster: Cluster, redis_url: str, namespace: str, topic: Callable[..., str], tmp_path: Path
) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 pytest shows it for a test that failed
    to = topic("published", partitions=4)
    with Callers(cluster, redis_url, namespace, to, tmp_path, KEYS, SEED) as callers:
        callers.run(KILLS)
    callers.assert_exact()
    assert callers.again[409], "no two calls met"
