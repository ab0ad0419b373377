"""Loops that share a group, and what the user's callbacks see of it."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

import eos
from eos.core.errors import ConfigError
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.consumer_loops import (
    group_conf,
    looping,
    nothing_comes,
    take,
    until,
    values,
)

Read = Callable[[str], list[Message]]
WAYS: dict[str, dict[str, Any]] = {
    "eager": {"partition.assignment.strategy": "range"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},
}


@pytest.fixture
def conf(bootstrap_servers: str, namespace: str) -> dict[str, Any]:
    return group_conf(bootstrap_servers, namespace, **{"enable.auto.commit": False})


def of(way: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Change how partitions change hands."""
    made = {**conf, **WAYS[way]}
    if way == "consumer":
        del made["session.timeout.ms"], made["heartbeat.interval.ms"]
    return made


def numbers(partitions: list[Any]) -> list[int]:
    return sorted(p.partition for p in partitions)


@pytest.mark.parametrize("way", WAYS)
def test_a_loop_that_is_slow_gives_partitions_away_soon_and_hands_out_nothing_more_of_them(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str, way: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(400)])
    told: list[tuple[str, bool, list[int]]] = []

    def noting(name: str) -> Callable[[Any, list[Any]], None]:
        return lambda c, partitions: told.append((name, c is slow, numbers(partitions)))

    with looping(of(way, conf), redis_url) as slow, looping(of(way, conf), redis_url) as other:
        slow.subscribe(
            [source], on_assign=noting("assign"), on_revoke=noting("revoke"), on_lost=noting("lost")
        )
        take(slow, 1)
        other.subscribe([source])
        others: set[str] = set()
        mine: list[str] = []
        ours = {0, 1}
        deadline = time.monotonic() + SECONDS
        while not others:
            assert time.monotonic() < deadline, told
            assert len(mine) < 300, "all that was read ahead was handed out first"
            message = slow.poll(0.05)
            if message is not None:
                mine.append(values([message])[0])
                ours = set(numbers(slow.assignment()))
                assert message.partition() in ours
            time.sleep(0.02)
            others.update(values(other.consume(20, 0.05)))
        assert numbers(slow.assignment()) != [0, 1]
    assert told[0] == ("assign", True, [0, 1])
    assert all(same for _, same, _ in told)
    assert any(name == "revoke" for name, _, _ in told)


def test_commit_inside_on_revoke_settles_what_was_handed_out(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(20)])

    def give_back(consumer: Any, _partitions: list[Any]) -> None:
        consumer.commit(asynchronous=False)

    with looping(conf, redis_url) as consumer:
        consumer.subscribe([source], on_revoke=give_back)
        take(consumer, 13)
    assert sum(cluster.committed(conf["group.id"], source).values()) == 13


def test_commit_inside_on_revoke_ends_the_transaction_at_close(
    cluster: Cluster,
    source: str,
    to: str,
    conf: dict[str, Any],
    redis_url: str,
    read_committed: Read,
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(20)])
    with looping(conf, redis_url, producer={}) as consumer:
        consumer.subscribe([source], on_revoke=lambda c, _: c.commit(asynchronous=False))
        for message in take(consumer, 13):
            consumer.produce(to, message.value(), source=message)
    assert len(read_committed(to)) == 13
    assert sum(cluster.committed(conf["group.id"], source).values()) == 13


def test_assign_inside_on_assign_chooses_where_to_read(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(20)])
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([source])
        take(consumer, 20)
        consumer.commit(asynchronous=False)

    def choose(consumer: Any, partitions: list[Any]) -> None:
        for partition in partitions:
            partition.offset = [OFFSET_BEGINNING, 7][partition.partition]
        consumer.assign(partitions)

    with looping(conf, redis_url) as consumer:
        consumer.subscribe([source], on_assign=choose)
        again = take(consumer, 13)
        assert {m.offset() for m in again if m.partition() == 0} == set(range(10))
        assert {m.offset() for m in again if m.partition() == 1} == {7, 8, 9}


@pytest.mark.parametrize("name", ["on_assign", "on_revoke"])
def test_an_exception_in_a_callback_reaches_the_loop_and_loses_nothing(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str, name: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(20)])
    raised: list[int] = []

    def fail(_consumer: Any, _partitions: list[Any]) -> None:
        if not raised:
            raised.append(1)
            raise ValueError("the user's own")

    found: set[str] = set()
    caught = 0
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([source], **{name: fail})
        deadline = time.monotonic() + SECONDS
        left = False
        while len(found) < 20 or not raised:
            assert time.monotonic() < deadline, found
            try:
                found.update(values(consumer.consume(3, 0.2)))
            except ValueError:
                caught += 1
            if len(found) >= 9 and not left:
                left = True
                consumer.unsubscribe()
                consumer.subscribe([source], **{name: fail})
    assert caught == 1


def test_partitions_assigned_by_hand_work_and_are_refused_with_a_producer(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(20)])
    mine = [TopicPartition(source, 0)]
    with looping(conf, redis_url) as consumer:
        consumer.assign(mine)
        take(consumer, 4)
        consumer.assign([TopicPartition(source, 1)])
        assert {m.partition() for m in take(consumer, 10)} == {1}
        consumer.commit(asynchronous=False)
        consumer.incremental_assign(mine)
        assert len(take(consumer, 10)) == 10  # uncommitted: all of it, and not a replay of more
        assert mine[0].offset == TopicPartition(source, 0).offset
        consumer.commit(asynchronous=False)
        consumer.unassign()
        nothing_comes(consumer, 2)
        consumer.assign(mine)
        nothing_comes(consumer, 3)
    with looping(conf, redis_url, producer={}) as consumer, pytest.raises(ConfigError):
        consumer.assign(mine)


def test_a_pattern_subscribes_to_all_that_it_matches(
    cluster: Cluster, namespace: str, conf: dict[str, Any], redis_url: str
) -> None:
    for name in ("a", "b"):
        cluster.create_named(f"{namespace}-in-{name}")
        cluster.send(f"{namespace}-in-{name}", [Input("same", 0), Input(name, 0), Input("same", 0)])
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([f"^{namespace}-in-.*"])
        assert sorted(values(take(consumer, 4))) == ["a", "b", "same", "same"]  # by topic
        nothing_comes(consumer, 2)


def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(20)])
    told: list[str] = []

    def member(name: str) -> dict[str, Any]:
        return {**conf, "group.instance.id": name}

    with looping(member("one"), redis_url) as stays:
        stays.subscribe([source], on_revoke=lambda _c, _p: told.append("revoke"))
        take(stays, 1)
        leaves = eos.Consumer(member("two"), ledger=redis_url)
        leaves.subscribe([source])
        until(stays, lambda: bool(leaves.poll(0.05)) or bool(leaves.assignment()), "never in")
        held = numbers(leaves.assignment())
        told.clear()
        leaves.close()
        with looping(member("two"), redis_url) as back:
            back.subscribe([source])
            deadline = time.monotonic() + SECONDS
            while not back.assignment():
                assert time.monotonic() < deadline
                back.poll(0.05)
                stays.poll(0.05)
            assert numbers(back.assignment()) == held
        assert told == []


def test_a_loop_slower_than_the_poll_interval_keeps_its_partitions(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", n % 2) for n in range(6)])
    told: list[str] = []
    slow = {**conf, "session.timeout.ms": 2000, "max.poll.interval.ms": 2000}
    with looping(slow, redis_url) as consumer:
        consumer.subscribe(
            [source],
            on_revoke=lambda _c, _p: told.append("revoke"),
            on_lost=lambda _c, _p: told.append("lost"),
        )
        found = take(consumer, 1)
        threading.Event().wait(3.0)  # longer than the interval: that is the claim
        found += take(consumer, 5)
        assert told == []
        consumer.commit(asynchronous=False)
    assert len(set(values(found))) == len(found) == 6


# --- wrap ---------------------------------------------------------------------------------

OFF = {"enable.auto.commit": False, "enable.auto.offset.store": False}


def test_a_consumer_that_somebody_made_is_wrapped(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, [Input(f"id-{n // 2}", 0) for n in range(20)])
    made = {**conf, **OFF}
    consumer = eos.wrap(Consumer(made), config=made, ledger=redis_url)
    consumer.subscribe([source])
    messages = take(consumer, 10)
    assert sorted(values(messages)) == sorted({f"id-{n}" for n in range(10)})
    consumer.commit(message=messages[-1], asynchronous=False)
    consumer.close()
    assert cluster.committed(conf["group.id"], source)[0] == 19


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({}, {}),
        ({"enable.auto.commit": False}, {"enable.auto.commit": False}),
        ({**OFF, "enable.auto.commit": True}, {**OFF, "enable.auto.commit": True}),
        ({"enable.auto.commit": False}, OFF),  # the configuration lies
        (OFF, {**OFF, "isolation.level": "read_uncommitted"}),
    ],
)
def test_wrap_refuses_a_consumer_that_settles_by_itself_whatever_it_is_told(
    conf: dict[str, Any], redis_url: str, made: dict[str, Any], told: dict[str, Any]
) -> None:
    del conf["enable.auto.commit"]
    client = Consumer({**conf, **made})
    with pytest.raises(ConfigError):
        eos.wrap(client, config={**conf, **told}, ledger=redis_url)
    client.close()
