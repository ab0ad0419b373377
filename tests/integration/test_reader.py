"""The reader on a real broker: what it commits comes back, and it reads only where it was sent."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from eos.core.errors import AbortableError, FencedError, RetriableError
from eos.core.frontier import Frontier, parse
from eos.core.ports import Partition
from eos.core.settings import Settings
from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.kafka.reader import KafkaReader
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.testing.proxy import ApiKey, KafkaProxy
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.members import PROTOCOLS, flow, join, nobody

LIST_OFFSETS: ApiKey = 2  # type: ignore[assignment]
"""An API key that `ApiKey` does not name."""


SESSION = 1.5
SHORT = {"session.timeout.ms": int(SESSION * 1000), "heartbeat.interval.ms": 300}


@pytest.fixture
def settings(bootstrap_servers: str, namespace: str) -> Settings:
    return Settings(group=namespace, brokers=bootstrap_servers, ledger="memory:")


@pytest.fixture
def proxy(stack: Stack) -> Iterator[KafkaProxy]:
    with KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as opened:
        yield opened


@pytest.fixture
def readers(settings: Settings) -> Iterator[Callable[..., KafkaReader]]:
    """Makes readers, and closes those that the test leaves open."""
    made: list[KafkaReader] = []

    def make(*, slot: int = 0, **kafka: Any) -> KafkaReader:
        given = replace(settings, kafka={**settings.kafka, **kafka})
        made.append(KafkaReader(config.consumer(given, slot), "earliest"))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


NOTES = {"in words": "mine; and: yours", "long": "ä" * 5000, "none": ""}


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("way", ["cooperative", "consumer"])
def test_what_travels_beside_an_offset_comes_back_from_a_commit(
    readers: Callable[..., KafkaReader], topic: Callable[..., str], note: str, way: str
) -> None:
    reader, source = readers(**PROTOCOLS[way]), topic("orders")
    join(reader, source)
    assert reader.frontiers([(source, 0)]) == {(source, 0): None}

    given = Frontier(7, attempts=2, note=NOTES[note])
    reader.commit({(source, 0): given}, wait=True)

    expected = parse(7, given.metadata)
    assert (expected.offset, expected.attempts, expected.ours) == (7, 2, True)
    assert given.note.startswith(expected.note)
    assert bool(expected.note) is bool(given.note)
    assert reader.frontiers([(source, 0)]) == {(source, 0): expected}


@pytest.mark.parametrize("way", ["cooperative", "consumer"])
def test_what_travels_beside_an_offset_comes_back_from_a_transaction(
    readers: Callable[..., KafkaReader],
    settings: Settings,
    topic: Callable[..., str],
    way: str,
) -> None:
    reader, source = readers(**PROTOCOLS[way]), topic("orders")
    join(reader, source)
    transactions = KafkaTransactions(config.producer(settings, "it.0"), lambda _: None)
    given = Frontier(9, attempts=3, note="mine")
    transactions.begin()
    transactions.send_offsets({(source, 0): given}, reader.group_metadata())
    with pytest.raises(RetriableError):  # it waits for the transaction's end
        reader.frontiers([(source, 0)])
    assert transactions.commit()
    assert reader.frontiers([(source, 0)]) == {(source, 0): given}
    log = KafkaLog(config.consumer(settings), KafkaTopics(config.client(settings)))
    assert log.frontiers(source) == {0: given}
    log.close()
    transactions.close()


def test_what_another_consumer_committed_is_told_from_what_eos_did(
    readers: Callable[..., KafkaReader], settings: Settings, topic: Callable[..., str]
) -> None:
    reader, source = readers(), topic("orders")
    other = Consumer({"bootstrap.servers": settings.brokers, "group.id": settings.group})
    other.commit(offsets=[TopicPartition(source, 0, 4, "theirs")], asynchronous=False)
    other.close()
    join(reader, source)
    assert reader.frontiers([(source, 0)]) == {(source, 0): Frontier(4, ours=False, note="theirs")}


def test_a_commit_that_nobody_waits_for_is_written_all_the_same(
    readers: Callable[..., KafkaReader], topic: Callable[..., str]
) -> None:
    reader, source = readers(), topic("orders")
    join(reader, source)
    reader.commit({(source, 0): Frontier(3)}, wait=False)
    assert wait_until(
        lambda: reader.frontiers([(source, 0)]) == {(source, 0): Frontier(3)}, seconds=SECONDS
    )


@pytest.mark.parametrize("way", PROTOCOLS)
def test_what_is_given_back_is_told_while_it_can_still_be_committed_and_what_is_lost_is_not(
    readers: Callable[..., KafkaReader], topic: Callable[..., str], way: str
) -> None:
    source, told = topic("orders", partitions=2), list[Collection[Partition]]()
    first, second = readers(**PROTOCOLS[way]), readers(**PROTOCOLS[way])

    def revoking(partitions: Collection[Partition]) -> None:
        told.append(partitions)
        with suppress(AbortableError):  # by leaving in the middle of a rebalance it is too late
            first.commit(dict.fromkeys(partitions, Frontier(5)), wait=True)

    join(first, source, revoking)
    assert wait_until(
        lambda: not first.poll(1, 0.1) and len(first.assigned()) == 2, seconds=SECONDS
    )
    second.subscribe([source], nobody)
    ready = wait_until(
        lambda: (
            not first.poll(1, 0.05) and not second.poll(1, 0.05) and len(second.assigned()) == 1
        ),
        seconds=SECONDS,
    )
    assert ready
    [moved] = second.assigned()
    assert moved in {partition for partitions in told for partition in partitions}
    assert second.frontiers([moved]) == {moved: Frontier(5)}


@pytest.mark.parametrize("way", PROTOCOLS)
def test_what_is_given_back_by_leaving_can_still_be_committed(
    readers: Callable[..., KafkaReader], topic: Callable[..., str], way: str
) -> None:
    source = topic("orders")
    leaving, other = readers(**PROTOCOLS[way]), readers(**PROTOCOLS[way])

    def revoking(partitions: Collection[Partition]) -> None:
        leaving.commit(dict.fromkeys(partitions, Frontier(5)), wait=True)

    join(leaving, source, revoking)
    leaving.close()
    assert other.frontiers([(source, 0)]) == {(source, 0): Frontier(5)}


@pytest.mark.parametrize("way", PROTOCOLS)
def test_a_member_that_takes_longer_to_give_back_than_a_session_lasts_is_waited_for(
    readers: Callable[..., KafkaReader], topic: Callable[..., str], way: str
) -> None:
    source, told = topic("orders", partitions=2), list[Collection[Partition]]()
    kafka = PROTOCOLS[way] if way == "consumer" else {**PROTOCOLS[way], **SHORT}
    first, second = readers(**kafka), readers(**kafka)

    def revoking(partitions: Collection[Partition]) -> None:
        if not told:
            time.sleep(3 * SESSION)  # what this is about
            first.commit(dict.fromkeys(partitions, Frontier(5)), wait=True)
        told.append(partitions)

    join(first, source, revoking)
    second.subscribe([source], nobody)
    polling = threading.Event()

    def poll() -> None:
        while not polling.is_set():
            second.poll(1, 0.05)

    beside = threading.Thread(target=poll)
    beside.start()
    try:
        shared = wait_until(
            lambda: not first.poll(1, 0.05) and len(second.assigned()) == 1, seconds=SECONDS
        )
    finally:
        polling.set()
        beside.join()
    assert shared
    [moved] = second.assigned()
    assert moved in told[0]
    assert second.frontiers([moved]) == {moved: Frontier(5)}


def test_a_static_member_that_comes_back_finds_its_partition_where_it_was(
    readers: Callable[..., KafkaReader], topic: Callable[..., str]
) -> None:
    source, static = topic("orders", partitions=2), {"group.instance.id": "till"}
    first, other = readers(**static), readers(slot=1, **static)
    first.subscribe([source], nobody)
    other.subscribe([source], nobody)

    def even() -> bool:
        first.poll(1, 0.05)
        other.poll(1, 0.05)
        return [len(first.assigned()), len(other.assigned())] == [1, 1]

    assert wait_until(even, seconds=SECONDS)
    before, theirs = set(first.assigned()), other.assignments
    first.close()
    again = readers(**static)
    again.subscribe([source], nobody)
    assert wait_until(lambda: not again.poll(1, 0.05) and bool(again.assigned()), seconds=SECONDS)
    other.poll(1, 0.1)
    assert set(again.assigned()) == before
    assert other.assignments == theirs


def test_a_member_whose_place_somebody_else_took_is_told_what_to_change(
    readers: Callable[..., KafkaReader], topic: Callable[..., str]
) -> None:
    source, static = topic("orders"), {"group.instance.id": "till", **SHORT}
    first, twin = readers(**static), readers(**static)
    join(first, source)
    twin.subscribe([source], nobody)

    def fenced() -> bool:
        twin.poll(1, 0.05)
        first.poll(1, 0.05)
        return False

    with pytest.raises(FencedError, match=r"group\.instance\.id"):
        wait_until(fenced, seconds=SECONDS)


def test_a_static_member_whose_place_is_not_free_yet_waits_for_it(
    readers: Callable[..., KafkaReader], topic: Callable[..., str]
) -> None:
    # So it is for the successor of a worker that was killed: its session is not over yet.
    source, static = topic("orders"), {"group.protocol": "consumer", "group.instance.id": "till"}
    first, successor = readers(**static), readers(**static)
    join(first, source)
    successor.subscribe([source], nobody)

    def refused() -> bool:
        first.poll(1, 0.05)
        successor.poll(1, 0.05)
        return False

    for _ in range(2):
        with pytest.raises(RetriableError, match=r"group\.instance\.id"):
            wait_until(refused, seconds=SECONDS)
    first.close()
    deadline = time.monotonic() + SECONDS
    while not successor.assigned():
        assert time.monotonic() < deadline
        with suppress(RetriableError):
            successor.poll(1, 0.05)


FAULTS: dict[str, Callable[[KafkaProxy], None]] = {
    "in time": lambda _: None,
    "late": lambda proxy: proxy.delay_requests(LIST_OFFSETS, 1.0, 1),
    "lost": lambda proxy: proxy.drop_responses(LIST_OFFSETS, 1, close=False),
    "broken": lambda proxy: proxy.drop_responses(LIST_OFFSETS, 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reader_stays_where_it_was_sent_whenever_the_answer_about_the_beginning_comes(
    stack: Stack,
    proxy: KafkaProxy,
    settings: Settings,
    topic: Callable[..., str],
    cluster: Cluster,
    fault: str,
) -> None:
    # A client that is told to begin at the beginning asks where that is, and goes there when the
    # answer comes, even if it was sent elsewhere in the meantime.
    source = topic("orders")
    cluster.send(source, [Input(f"id-{n}", 0) for n in range(100)])
    quick = {"session.timeout.ms": 30_000, "socket.timeout.ms": 3000}
    behind = Settings(**{**vars(settings), "brokers": stack.proxied_servers, "kafka": quick})
    reader = KafkaReader(config.consumer(behind), "earliest")
    FAULTS[fault](proxy)
    join(reader, source)
    read: list[int] = []
    flow(reader, (source, 0), 50)
    quiet = time.monotonic() + 5.0  # longer than it can take until a late answer comes
    while time.monotonic() < quiet:
        read += [message.offset() for message in reader.poll(10, 0.1)]
    reader.close()

    assert read == list(range(50, 100))
