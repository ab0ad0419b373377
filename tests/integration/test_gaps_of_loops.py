"""A loop of the user's own goes on where the log has let go of records."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient

from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.consumer_loops import group_conf, looping, nothing_comes, take, values

Read = Callable[[str], list[Message]]


@pytest.fixture
def conf(bootstrap_servers: str, namespace: str) -> dict[str, Any]:
    return group_conf(bootstrap_servers, namespace, **{"enable.auto.commit": False})


def remove(conf: dict[str, Any], topic: str, before: int) -> None:
    """Remove records of partition 0, as retention does."""
    admin = AdminClient({"bootstrap.servers": conf["bootstrap.servers"]})
    for done in admin.delete_records([TopicPartition(topic, 0, before)]).values():
        done.result(SECONDS)


@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "running"])
def test_what_the_loop_was_handed_it_settles_and_nothing_is_handed_out_twice(
    conf: dict[str, Any],
    topic: Callable[..., str],
    cluster: Cluster,
    redis_url: str,
    *,
    stops: bool,
) -> None:
    orders = topic("orders")
    cluster.send(orders, [Input(name, 0) for name in "abc"])
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([orders])
        held = take(consumer, 3)
        consumer.commit(held[0], asynchronous=False)
        if not stops:
            # While the loop waits, it reads nothing ahead that would still be there.
            consumer.pause([TopicPartition(orders, 0)])
        cluster.send(orders, [Input(name, 0) for name in "def"])
        remove(conf, orders, 5)
        if not stops:
            consumer.resume([TopicPartition(orders, 0)])
            assert values(take(consumer, 1)) == ["f"]
            consumer.commit(asynchronous=False)
    if stops:
        with looping(conf, redis_url) as consumer:
            consumer.subscribe([orders])
            assert values(take(consumer, 1)) == ["f"]
            consumer.commit(asynchronous=False)
            cluster.send(orders, [Input("b", 0), Input("f", 0)])
            # `b` was handed out and not settled: its owner is in the gap.
            assert values(take(consumer, 1)) == ["b"]
            nothing_comes(consumer)
            consumer.commit(asynchronous=False)
    cluster.await_settled(conf["group.id"], orders)


def test_with_a_producer_copies_that_were_suppressed_are_handled(
    conf: dict[str, Any],
    topic: Callable[..., str],
    cluster: Cluster,
    redis_url: str,
    read_committed: Read,
) -> None:
    orders, out = topic("orders", partitions=2), topic("out")
    cluster.send(orders, [Input("a", 0), Input("g", 0)])
    producer = {"bootstrap.servers": conf["bootstrap.servers"], "transactional.id": orders}

    def handle(consumer: Any, number: int) -> None:
        for message in take(consumer, number):
            consumer.produce(out, message.value())

    with looping(conf, redis_url, producer=producer) as consumer:
        consumer.subscribe([orders])
        (first,) = take(consumer, 1)
        consumer.produce(out, first.value())
        consumer.commit(asynchronous=False)
        take(consumer, 1)  # `g` is claimed, and never settled
        cluster.send(orders, [Input("g", 1), Input("b", 1)])
        assert values(take(consumer, 1)) == ["b"]
        last = consumer.position([TopicPartition(orders, 1)])[0].offset
        consumer.produce(out, b"b")
        consumer.commit(offsets=[TopicPartition(orders, 1, last)], asynchronous=False)
        assert wait_until(
            lambda: cluster.committed(conf["group.id"], orders) == {0: 1, 1: 2}, seconds=SECONDS
        )
    remove(conf, orders, 2)
    with looping(conf, redis_url, producer=producer) as consumer:
        consumer.subscribe([orders])
        handle(consumer, 1)
        consumer.commit(asynchronous=False)
        cluster.send(orders, [Input("g", 0), Input("g", 1)])
        nothing_comes(consumer)
        consumer.commit(asynchronous=False)
    assert sorted((m.value() or b"").decode() for m in read_committed(out)) == ["a", "b", "g"]
