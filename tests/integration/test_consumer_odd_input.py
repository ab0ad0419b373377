"""Input as nobody would wish it: each is handled or is a clear error, and nothing is lost."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

import eos
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.consumer_loops import (
    group_conf,
    looping,
    nothing_comes,
    take,
    until,
    values,
)


@pytest.fixture
def conf(bootstrap_servers: str, namespace: str) -> dict[str, Any]:
    return group_conf(bootstrap_servers, namespace, **{"enable.auto.commit": False})


@pytest.fixture
def one(topic: Callable[..., str]) -> str:
    return topic("odd")


def transaction(brokers: str, name: str, topic: str, keys: list[str], *, commit: bool) -> None:
    """Write records in a transaction of their own."""
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": name})
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    for key in keys:
        producer.produce(topic, key.encode(), headers=[("message-id", key.encode())])
    producer.flush(SECONDS)
    if commit:
        producer.commit_transaction(SECONDS)
    else:
        producer.abort_transaction(SECONDS)


def test_aborted_records_and_the_gaps_of_transactions_are_passed_over(
    one: str, conf: dict[str, Any], redis_url: str
) -> None:
    brokers, name = conf["bootstrap.servers"], conf["group.id"]
    transaction(brokers, name, one, ["x", "a"], commit=False)
    transaction(brokers, name, one, ["a", "b"], commit=True)
    transaction(brokers, name, one, ["c"], commit=False)
    transaction(brokers, name, one, ["a", "c"], commit=True)
    place = TopicPartition(one, 0)
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([one])
        first = take(consumer, 1)
        consumer.pause([place])
        consumer.position([place])
        consumer.resume([place])
        assert values(first + take(consumer, 2)) == ["a", "b", "c"]
        nothing_comes(consumer, 2)
        consumer.commit(asynchronous=False)
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([one])
        nothing_comes(consumer, 5)


def test_a_gap_that_compaction_left_is_no_lost_record(
    cluster: Cluster, topic: Callable[..., str], conf: dict[str, Any], redis_url: str
) -> None:
    compacted = {"cleanup_policy": "compact", "segment_ms": "100", "min_cleanable_dirty_ratio": "0"}
    name = topic("compacted", **compacted)
    cluster.send(name, [Input(f"id-{n}", 0, key=b"same") for n in range(5)])
    time.sleep(0.2)  # a segment is rolled by its age
    cluster.send(name, [Input("last", 0, key=b"other")])
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([name])
        assert values(take(consumer, 1)) != []
        consumer.seek(TopicPartition(name, 0, 0))
        found = values(take(consumer, 1))
        while found[-1] != "last":
            found += values(take(consumer, 1))
        consumer.commit(asynchronous=False)
    assert cluster.committed(conf["group.id"], name) == cluster.ends(name)


def test_null_keys_values_and_headers_come_through_as_they_are(
    cluster: Cluster, one: str, conf: dict[str, Any], redis_url: str
) -> None:
    odd = [("message-id", b"\xff\xfe"), ("huge", b"h" * 500_000), ("none", None)]
    cluster.send(
        one,
        [
            Input(None, 0),
            Input(None, 0, b"", b""),
            Input(None, 0, b"v", None, odd),
            Input(None, 0, b"v", None, odd),
            Input(None, 0, b"w", None, [("message-id", b"")]),
            Input(None, 0, b"w", None, [("message-id", None)]),
            Input(None, 0, b"long", None, [("message-id", b"k" * 100_000)]),
            Input(None, 0, b"long", None, [("message-id", b"k" * 100_000)]),
        ],
    )
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([one])
        found = take(consumer, 6)
        assert [m.value() for m in found] == [None, b"", b"v", b"w", b"w", b"long"]
        assert [m.offset() for m in found] == [0, 1, 2, 4, 5, 6]
        assert found[2].headers() == odd
        assert consumer.claim(found[2]).idempotency_key.encode(errors="surrogateescape") == (
            b"\xff\xfe"
        )
        names = [consumer.claim(m).idempotency_key for m in found]
        assert len(set(names)) == len(names)
        nothing_comes(consumer, 2)


def test_a_key_function_that_raises_leaves_its_record_without_a_key(
    cluster: Cluster, one: str, conf: dict[str, Any], redis_url: str
) -> None:
    def key(record: eos.Record) -> bytes:
        return bytes([(record.value or b"")[5]])

    cluster.send(one, [Input(None, 0, value) for value in (b"12345a", b"1", b"12345a", b"1")])
    with looping(conf, redis_url, key=key) as consumer:
        consumer.subscribe([one])
        assert [m.offset() for m in take(consumer, 3)] == [0, 1, 3]
        nothing_comes(consumer, 2)


def test_partitions_that_are_added_are_read_from_their_beginning(
    cluster: Cluster, topic: Callable[..., str], conf: dict[str, Any], redis_url: str
) -> None:
    name = topic("growing")
    cluster.send(name, [Input("a", 0)])
    with looping({**conf, "topic.metadata.refresh.interval.ms": 500}, redis_url) as consumer:
        consumer.subscribe([name])
        assert values(take(consumer, 1)) == ["a"]
        consumer.commit(asynchronous=False)
        admin = AdminClient({"bootstrap.servers": conf["bootstrap.servers"]})
        admin.create_partitions([NewPartitions(name, 2)])[name].result(SECONDS)
        until(consumer, lambda: len(cluster.ends(name)) == 2, "no second partition")
        cluster.send(name, [Input("b", 1), Input("a", 1)])
        assert values(take(consumer, 1)) == ["b"]
        nothing_comes(consumer, 2)


def test_an_unknown_topic_is_an_error_event_as_with_the_client_itself(
    conf: dict[str, Any], redis_url: str
) -> None:
    settings = {**conf, "allow.auto.create.topics": False}
    with looping(settings, redis_url) as consumer:
        consumer.subscribe([f"{conf['group.id']}-nowhere"])
        deadline = time.monotonic() + 10
        while (message := consumer.poll(0.2)) is None:
            assert time.monotonic() < deadline
        assert message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_latest_means_what_comes_from_now_on(
    cluster: Cluster, one: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(one, [Input("before", 0)])
    with looping({**conf, "auto.offset.reset": "latest"}, redis_url) as consumer:
        consumer.subscribe([one])
        until(consumer, lambda: bool(consumer.assignment()), "no assignment")
        nothing_comes(consumer, 3)
        cluster.send(one, [Input("after", 0)])
        assert values(take(consumer, 1)) == ["after"]


def test_a_resend_of_what_came_before_latest_is_handed_out(
    cluster: Cluster, one: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(one, [Input("before", 0)])
    with looping({**conf, "auto.offset.reset": "latest"}, redis_url) as consumer:
        consumer.subscribe([one])
        until(consumer, lambda: bool(consumer.assignment()), "no assignment")
        nothing_comes(consumer, 3)
        cluster.send(one, [Input("before", 0)])
        assert values(take(consumer, 1, seconds=5)) == ["before"]


def test_a_claim_is_told_of_each_record_of_a_large_and_slow_batch(
    cluster: Cluster, one: str, conf: dict[str, Any], redis_url: str
) -> None:
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([one])
        until(consumer, lambda: bool(consumer.assignment()), "no assignment")
        for n in range(8):
            cluster.send(one, [Input(f"id-{n}", 0)])
            nothing = consumer.consume(100, 0.0) if n == 0 else []
            assert len(nothing) <= 1
        messages = take(consumer, 7)
        keys = [consumer.claim(m).idempotency_key for m in messages]
        assert keys == values(messages)
        with pytest.raises(KeyError):
            consumer.claim(_Stranger(one))


class _Stranger:
    """A message that nobody was handed."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 10**9
