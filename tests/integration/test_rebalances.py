"""Partitions change hands in each way that Kafka knows, under load: nothing is lost or repeated."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Message

from eos.core.events import Assigned
from eos.core.settings import Settings
from tests.integration.churn import Churn, Effects
from tests.integration.cluster import Cluster
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.lines import Running, step
from tests.integration.processes import quick

CLASSIC = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
WAYS: dict[str, dict[str, Any]] = {
    "eager": {**CLASSIC, "partition.assignment.strategy": "range"},
    "cooperative": CLASSIC,
    "consumer": {"group.protocol": "consumer"},
    "static": {**CLASSIC, "group.instance.id": "till"},
    "static consumer": {"group.protocol": "consumer", "group.instance.id": "till"},
}
DISTINCT = 800
PARTITIONS = 4


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders", partitions=PARTITIONS)


@pytest.fixture
def settings(way: str, bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace, kafka=WAYS[way]))


def moves(churn: Churn) -> int:
    """How often somebody was given partitions."""
    return sum(bool(event.partitions) for line in churn.lines for event in line.saw(Assigned))


@pytest.mark.parametrize("way", WAYS)
def test_outputs_are_there_exactly_once_while_workers_come_and_go(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
) -> None:
    inputs = with_copies(5, DISTINCT, partitions=PARTITIONS)
    churn = Churn(lambda slot: Running(settings, [step(source, to)], slot=slot), cluster, source)
    churn.run(inputs, settings.group)
    assert_exactly_once(inputs, read_committed(to))
    assert moves(churn) > 3


@pytest.mark.parametrize("way", WAYS)
def test_effects_outside_of_kafka_are_had_once_and_none_is_in_doubt_while_workers_come_and_go(
    settings: Settings, source: str, cluster: Cluster
) -> None:
    # What was handled is settled before a partition is given back: the next owner knows of it.
    inputs = with_copies(6, DISTINCT, partitions=PARTITIONS)
    effects = Effects()
    churn = Churn(
        lambda slot: Running(settings, [step(source, None, effects)], slot=slot), cluster, source
    )
    churn.run(inputs, settings.group)
    assert effects.in_doubt == []
    assert effects.backwards() == []
    assert sorted(effects.ids) == sorted({str(each.id) for each in inputs})
    assert moves(churn) > 3
