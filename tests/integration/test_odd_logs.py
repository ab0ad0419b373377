"""Logs that are not simply one record after the other."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from eos.build import Ports
from eos.core.errors import FatalError
from eos.core.events import Recovered
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.testing.faults import Fault, faulty
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.copies import assert_exactly_once
from tests.integration.lines import Running, step

Read = Callable[[str], list[Message]]


def transactions(bootstrap_servers: str, topic: str, count: int) -> list[Input]:
    """Send records in small transactions, of which every other one is aborted."""
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "transactional.id": uuid.uuid4().hex}
    )
    producer.init_transactions(SECONDS)
    committed = []
    for n in range(count):
        producer.begin_transaction()
        for copy in range(2):
            name = f"id-{n}-{copy}"
            headers: list[tuple[str, str | bytes | None]] = [("message-id", name)]
            producer.produce(topic, name, partition=copy, headers=headers)
            if n % 2 == 0:
                committed.append(Input(name, copy))
        producer.flush(SECONDS)
        if n % 2:
            producer.abort_transaction(SECONDS)
        else:
            producer.commit_transaction(SECONDS)
    return committed


def test_aborted_records_are_not_handled_and_markers_stop_nobody_not_even_recovery(
    settings: Settings,
    bootstrap_servers: str,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Read,
) -> None:
    inputs = transactions(bootstrap_servers, source, 40)

    def flush() -> None:
        with redis.Redis.from_url(settings.ledger) as client:
            client.flushall()

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, Fault("claim", "before", 4, flush))

    with Running(settings, [step(source, to)], wrap) as line:
        line.until(lambda _: len(read_committed(to)) >= len(inputs), "all outputs")
        copies = [Input(each.id, each.partition) for each in inputs]
        cluster.send(source, copies)
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    assert sum(event.records for event in line.saw(Recovered)) > 0


def remove_below(bootstrap_servers: str, topic: str, offset: int) -> None:
    """Remove the first records, as retention does."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    wanted = TopicPartition(topic, 0, offset)
    admin.delete_records([wanted])[wanted].result(SECONDS)  # type: ignore[no-untyped-call]


def test_a_group_that_comes_late_begins_with_what_is_still_there(
    settings: Settings,
    bootstrap_servers: str,
    topic: Callable[..., str],
    to: str,
    cluster: Cluster,
    read_committed: Read,
) -> None:
    source = topic("orders")
    cluster.send(source, [Input(f"id-{n}", 0) for n in range(20)])
    remove_below(bootstrap_servers, source, 10)

    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == [f"id-{n}" for n in range(10, 20)]


def test_records_that_were_removed_before_they_were_handled_stop_the_line_and_are_never_skipped(
    settings: Settings,
    bootstrap_servers: str,
    topic: Callable[..., str],
    to: str,
    cluster: Cluster,
    read_committed: Read,
) -> None:
    source = topic("orders")
    cluster.send(source, [Input(f"id-{n}", 0) for n in range(10)])
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)
    cluster.send(source, [Input(f"id-{n}", 0) for n in range(10, 30)])
    remove_below(bootstrap_servers, source, 20)

    with Running(settings, [step(source, to)]) as line:
        error = line.failed()

    assert isinstance(error, FatalError)
    assert source in str(error)
    assert "removed before they were handled" in str(error)
    assert cluster.committed(settings.group, source) == {0: 10}
    assert len(read_committed(to)) == 10


def test_partitions_that_are_added_later_are_read(
    settings: Settings,
    bootstrap_servers: str,
    topic: Callable[..., str],
    to: str,
    cluster: Cluster,
    read_committed: Read,
) -> None:
    source = topic("orders")
    attentive = replace(
        settings, kafka={**settings.kafka, "topic.metadata.refresh.interval.ms": 500}
    )
    cluster.send(source, [Input("a", 0)])

    with Running(attentive, [step(source, to)]) as line:
        cluster.await_settled(settings.group, source)
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        admin.create_partitions([NewPartitions(source, 3)])[source].result(SECONDS)
        line.until_assigned(3)
        cluster.send(source, [Input("a", 1), Input("b", 1), Input("c", 2), Input("b", 2)])
        cluster.await_settled(settings.group, source)

    assert sorted(ids(read_committed(to))) == ["a", "b", "c"]


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is down"])
def test_a_topic_that_is_made_anew_is_another_topic(
    settings: Settings,
    bootstrap_servers: str,
    topic: Callable[..., str],
    to: str,
    cluster: Cluster,
    read_committed: Read,
    *,
    running: bool,
) -> None:
    source = topic("orders")
    old = [Input(f"id-{n}", 0) for n in range(10)]
    new = [Input(f"id-{n}", 0, b"new %d" % n) for n in range(5)]

    def renew() -> None:
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        admin.delete_topics([source])[source].result(SECONDS)
        assert wait_until(
            lambda: source not in admin.list_topics(timeout=SECONDS).topics, seconds=SECONDS
        )
        cluster.create_named(source)
        cluster.send(source, new)

    cluster.send(source, old)
    with Running(settings, [step(source, to)]) as line:
        cluster.await_settled(settings.group, source)
        if running:
            renew()
            # It may stop, or notice by itself; it may not take the new records for old ones.
            wait_until(lambda: line.error is not None or len(read_committed(to)) >= 15, seconds=15)
            line.error = None
    if not running:
        renew()
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)

    wanted = [str(each.id) for each in old] + [f"new {n}" for n in range(5)]
    assert sorted(ids(read_committed(to))) == sorted(wanted)
