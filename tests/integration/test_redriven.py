"""A dead letter that is published again is handled once, however often that is done."""

from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Message

import eos
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.kafka.topics import KafkaTopics
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.lines import Running, step
from tests.integration.test_ledger_loss import flush

Read = Callable[[str], list[Message]]
IDS = [f"id-{number}" for number in range(20)]


class Handler:
    """Fails for every fourth record, until it is mended."""

    def __init__(self) -> None:
        self.mended = False

    def __call__(self, record: Record) -> Send:
        if not self.mended and int(record.idempotency_key.removeprefix("id-")) % 4 == 0:
            raise eos.HandlerError("not mended yet")
        return Send(record.value)


def redrive(cluster: Cluster, settings: Settings, source: str) -> list[str]:
    """Publish all dead letters again, each on the other partition; give their ids."""
    letters = cluster.read_committed(settings.dead_letters)
    copies = []
    for letter in letters:
        told_of = dict(cast("list[tuple[str, bytes]]", letter.headers()))
        headers = {name: value.decode() for name, value in told_of.items()}
        _, partition, _ = headers["eos-position"].rsplit("/", 2)
        told = (("eos-redriven", headers["eos-position"].encode()),)
        name = headers["eos-idempotency-key"]
        copies.append(Input(name, 1 - int(partition), letter.value() or b"", headers=told))
    cluster.send(source, copies)
    return [str(copy.id) for copy in copies]


@pytest.mark.parametrize("loses", ["nothing", "between", "after"])
def test_each_is_handled_once_though_it_is_redriven_twice_and_the_ledger_is_lost(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Read,
    loses: str,
) -> None:
    handler = Handler()
    cluster.send(source, [Input(name, n % 2) for n, name in enumerate(IDS)])
    with Running(settings, [step(source, to, handler)]) as line:
        cluster.await_settled(settings.group, source)
        assert len(read_committed(to)) == 15
        handler.mended = True
        for _ in range(2):
            assert len(redrive(cluster, settings, source)) == 5
            cluster.await_settled(settings.group, source)
            if loses == "between":
                flush(settings.ledger)()
        if loses == "after":
            flush(settings.ledger)()
        # A copy of each, without the header.
        cluster.send(source, [Input(name, n % 2) for n, name in enumerate(IDS)])
        cluster.await_settled(settings.group, source)
    assert sorted(ids(read_committed(to))) == sorted(IDS), line.told()


def test_a_copy_that_names_a_position_that_does_not_own_its_key_stays_a_duplicate(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(source, [Input("a", 0), Input("b", 0)])
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)
        topics = KafkaTopics({"bootstrap.servers": settings.brokers})
        topic_id, _ = topics.describe(source)
        forged = [f"{topic_id}/0/1", f"{topic_id}/1/0", "elsewhere/0/0", "?", f"{topic_id}/0/x"]
        cluster.send(
            source,
            [Input("a", 1, headers=(("eos-redriven", told.encode()),)) for told in forged],
        )
        cluster.await_settled(settings.group, source)
    assert sorted(ids(read_committed(to))) == ["a", "b"]


def test_a_record_of_another_key_takes_none_from_the_position_that_it_names(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(source, [Input("a", 0)])
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)
        topics = KafkaTopics({"bootstrap.servers": settings.brokers})
        topic_id, _ = topics.describe(source)
        told = (("eos-redriven", f"{topic_id}/0/0".encode()),)
        cluster.send(source, [Input("b", 1, headers=told)])
        cluster.await_settled(settings.group, source)
        flush(settings.ledger)()
        cluster.send(source, [Input("a", 1), Input("b", 0)])
        cluster.await_settled(settings.group, source)
    assert sorted(ids(read_committed(to))) == ["a", "b"]
