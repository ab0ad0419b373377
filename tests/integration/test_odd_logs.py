"""Logs that are not simply one record after the other."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import redis
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from eos.core.errors import HungError, RetriableError
from eos.core.events import Recovered, Waiting
from eos.core.frontier import Frontier
from eos.core.ports import Ports
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.kafka.groups import KafkaGroups
from eos.kafka.topics import KafkaTopics
from eos.operate import window
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
    admin.delete_records([wanted])[wanted].result(SECONDS)


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


class Renewal:
    """A topic that is deleted and made anew, with other records under the same keys."""

    OLD = tuple(Input(f"id-{n}", 0) for n in range(10))
    NEW = tuple(Input(f"id-{n}", 0, b"new %d" % n) for n in range(30))

    def __init__(self, bootstrap_servers: str, source: str, cluster: Cluster) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        self.source = source
        self._cluster = cluster
        cluster.send(source, self.OLD)

    def renew(self) -> None:
        self.make_anew()
        self.fill()

    def make_anew(self) -> None:
        self._admin.delete_topics([self.source])[self.source].result(SECONDS)
        assert wait_until(
            lambda: self.source not in self._admin.list_topics(timeout=SECONDS).topics,
            seconds=SECONDS,
        )
        self._cluster.create_named(self.source)

    def fill(self) -> None:
        self._cluster.send(self.source, self.NEW)

    def assert_all(self, outputs: list[Message]) -> None:
        wanted = [each.id for each in self.OLD] + [(n.value or b"").decode() for n in self.NEW]
        assert sorted(ids(outputs)) == sorted(str(each) for each in wanted)


@pytest.fixture
def renewal(bootstrap_servers: str, topic: Callable[..., str], cluster: Cluster) -> Renewal:
    return Renewal(bootstrap_servers, topic("orders"), cluster)


def test_a_topic_that_is_made_anew_while_the_line_is_down_is_another_topic(
    settings: Settings, renewal: Renewal, to: str, cluster: Cluster, read_committed: Read
) -> None:
    with Running(settings, [step(renewal.source, to)]):
        cluster.await_settled(settings.group, renewal.source)
    renewal.renew()
    with Running(settings, [step(renewal.source, to)]):
        cluster.await_settled(settings.group, renewal.source)

    renewal.assert_all(read_committed(to))


@pytest.mark.parametrize("records", ["none", "fewer", "more"])
def test_a_topic_that_is_made_anew_while_it_is_read_wants_a_new_process_and_is_another_topic(
    settings: Settings,
    renewal: Renewal,
    to: str,
    cluster: Cluster,
    read_committed: Read,
    records: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "EVERY", 0.2)
    new = {"none": 0, "fewer": 4, "more": 30}[records]
    # It may notice late: then it ends while we leave.
    with suppress(HungError), Running(settings, [step(renewal.source, to)]) as line:
        cluster.await_settled(settings.group, renewal.source)
        renewal.make_anew()
        cluster.send(renewal.source, renewal.NEW[:new])
        # The group may also have taken the partition away and given it back: then it goes on.
        wait_until(
            lambda: line.error is not None or cluster.is_settled(settings.group, renewal.source),
            seconds=2 * SECONDS,
        )
        assert line.error is None or isinstance(line.error, HungError)
        line.error = None
    cluster.send(renewal.source, renewal.NEW[new:])
    with Running(settings, [step(renewal.source, to)]):
        cluster.await_settled(settings.group, renewal.source)

    # What a client read at its old offset, before anybody noticed, comes again: it is as new as the
    # rest (docs/guarantees.md).
    found = Counter(ids(read_committed(to)))
    late = {(each.value or b"").decode() for each in renewal.NEW[len(renewal.OLD) :]}
    wanted = [str(n.id) for n in renewal.OLD] + [(n.value or b"").decode() for n in renewal.NEW]
    assert set(found) == set(wanted)
    assert {id_ for id_, count in found.items() if count > 1} <= late


def test_an_offset_that_was_committed_late_for_a_deleted_topic_says_nothing(
    settings: Settings, renewal: Renewal, to: str, cluster: Cluster, read_committed: Read
) -> None:
    with Running(settings, [step(renewal.source, to)]):
        cluster.await_settled(settings.group, renewal.source)
    topic_id, _ = KafkaTopics({"bootstrap.servers": settings.brokers}).describe(renewal.source)
    renewal.renew()
    groups = KafkaGroups({"bootstrap.servers": settings.brokers})
    late = {(renewal.source, 0): Frontier(10, topic_id=topic_id)}
    groups.commit(settings.group, late)
    with Running(settings, [step(renewal.source, to)]):
        cluster.await_settled(settings.group, renewal.source)
    renewal.assert_all(read_committed(to))


def test_a_topic_that_is_made_anew_while_the_line_waits_is_not_taken_for_the_old_one(
    settings: Settings, renewal: Renewal, to: str, cluster: Cluster, read_committed: Read
) -> None:
    away = threading.Event()

    def maybe_away() -> None:
        if away.is_set():
            raise RetriableError("for the test", "ledger")

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, Fault("claim", "before", None, maybe_away))

    with Running(settings, [step(renewal.source, to)], wrap) as line:
        cluster.await_settled(settings.group, renewal.source)
        away.set()
        cluster.send(renewal.source, [Input("never seen", 0)])
        line.until(lambda line: line.saw(Waiting), "it to wait")
        renewal.renew()
        away.clear()
        # It may go on, or stop; it may not take new records for settled ones.
        wait_until(
            lambda: line.error is not None or cluster.is_settled(settings.group, renewal.source),
            seconds=SECONDS,
        )
        line.error = None
    with Running(settings, [step(renewal.source, to)]):
        cluster.await_settled(settings.group, renewal.source)

    renewal.assert_all(read_committed(to))
