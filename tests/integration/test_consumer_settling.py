"""What a loop's calls settle, and what they leave alone."""

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

import eos
from eos.core.errors import ConfigError
from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.consumer_loops import (
    group_conf,
    looping,
    nothing_comes,
    take,
    until,
    values,
)

NUMBER = 12
INPUTS = [Input(f"id-{n}", 0) for n in range(NUMBER)]
Read = Callable[[str], list[Message]]


@pytest.fixture
def one(topic: Callable[..., str], cluster: Cluster) -> str:
    """A topic with one partition, and a dozen records in it."""
    name = topic("orders")
    cluster.send(name, INPUTS)
    return name


@pytest.fixture
def auto(bootstrap_servers: str, namespace: str) -> dict[str, Any]:
    return group_conf(bootstrap_servers, namespace)


@pytest.fixture
def manual(auto: dict[str, Any]) -> dict[str, Any]:
    return {**auto, "enable.auto.commit": False}


def committed(cluster: Cluster, conf: dict[str, Any], topic: str) -> int:
    return cluster.committed(conf["group.id"], topic).get(0, 0)


@pytest.mark.parametrize("by", ["poll", "consume"])
@pytest.mark.parametrize("then", ["close", "pause", "seek"])
def test_close_does_not_settle_what_the_loop_did_not_come_back_from(
    cluster: Cluster, one: str, auto: dict[str, Any], redis_url: str, by: str, then: str
) -> None:
    place = TopicPartition(one, 0)
    with looping(auto, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, 5)
        if by == "consume":
            assert len(consumer.consume(2, 5)) == 2
        if then == "pause":
            consumer.pause([place])
        elif then == "seek":
            consumer.seek(TopicPartition(one, 0, 10))
    came_back = 4 if by == "poll" else 5
    assert committed(cluster, auto, one) == came_back
    with looping(auto, redis_url) as consumer:
        consumer.subscribe([one])
        assert values(take(consumer, 1)) == [f"id-{came_back}"]
        nothing = consumer.claim(take(consumer, 1)[0])
        assert nothing.idempotency_key == f"id-{came_back + 1}"


def test_auto_commit_settles_once_the_loop_is_back(
    cluster: Cluster, one: str, auto: dict[str, Any], redis_url: str
) -> None:
    with looping(auto, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, NUMBER)
        assert committed(cluster, auto, one) < NUMBER
        until(consumer, lambda: committed(cluster, auto, one) == NUMBER, "never committed")


def test_commit_without_arguments_covers_what_was_handed_out_and_not_what_was_read_ahead(
    cluster: Cluster, one: str, manual: dict[str, Any], redis_url: str
) -> None:
    with looping(manual, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, 3)
        (answer,) = consumer.commit(asynchronous=False)
        assert (answer.topic, answer.partition, answer.offset) == (one, 0, 3)
        assert committed(cluster, manual, one) == 3
        with pytest.raises(KafkaException) as refused:
            consumer.commit(asynchronous=False)
        assert refused.value.args[0].code() == KafkaError._NO_OFFSET  # noqa: SLF001
        assert consumer.commit() is None
        assert consumer.commit(offsets=[]) is None
        assert values(take(consumer, 1)) == ["id-3"]


def test_commit_right_after_the_loop_came_back_reaches_kafka(
    cluster: Cluster, one: str, auto: dict[str, Any], redis_url: str
) -> None:
    conf = {**auto, "auto.commit.interval.ms": 60_000}
    with looping(conf, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, NUMBER)
        nothing_comes(consumer, 1)
        consumer.commit(asynchronous=False)
        assert committed(cluster, conf, one) == NUMBER


def test_a_commit_by_hand_before_anything_was_read_says_where_the_group_begins(
    cluster: Cluster, one: str, manual: dict[str, Any], redis_url: str
) -> None:
    with looping(manual, redis_url, in_doubt="skip") as consumer:
        consumer.assign([TopicPartition(one, 0)])
        consumer.poll(0)
        consumer.commit(offsets=[TopicPartition(one, 0, 2)], asynchronous=False)
        consumer.poll(0.2)
    assert committed(cluster, manual, one) == 2
    with looping(manual, redis_url, in_doubt="skip") as consumer:
        consumer.assign([TopicPartition(one, 0)])
        first, *_ = take(consumer, NUMBER - 2 - 1)
        assert int(first.offset()) in {2, 3}  # 2 may have been handed out, unsettled


def test_committed_gives_the_users_own_metadata(
    one: str, manual: dict[str, Any], redis_url: str
) -> None:
    place = TopicPartition(one, 0)
    with looping(manual, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, 5)
        consumer.commit(offsets=[TopicPartition(one, 0, 4, "mine; and yours")], asynchronous=False)
        (found,) = consumer.committed([place], 10)
        assert (found.offset, found.metadata) == (4, "mine; and yours")


def test_a_commit_below_what_is_settled_announces_a_replay(
    one: str, manual: dict[str, Any], redis_url: str
) -> None:
    with looping(manual, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, NUMBER)
        consumer.commit(asynchronous=False)
        consumer.commit(offsets=[TopicPartition(one, 0, 7)], asynchronous=False)
        nothing_comes(consumer, 2)  # reading goes on where it was
    with looping(manual, redis_url) as consumer:
        consumer.subscribe([one])
        again = take(consumer, 5)
        assert values(again) == [f"id-{n}" for n in range(7, NUMBER)]


def test_a_seek_back_hands_out_owners_again_and_never_their_copies(
    cluster: Cluster, topic: Callable[..., str], manual: dict[str, Any], redis_url: str
) -> None:
    name = topic("copies")
    keys = ["a", "b", "a", "c", "b", "d"]
    cluster.send(name, [Input(key, 0) for key in keys])
    with looping(manual, redis_url) as consumer:
        consumer.subscribe([name])
        assert values(take(consumer, 4)) == ["a", "b", "c", "d"]
        consumer.commit(asynchronous=False)
        consumer.seek(TopicPartition(name, 0, 1))
        assert values(take(consumer, 3)) == ["b", "c", "d"]
        nothing_comes(consumer, 2)


def test_events_are_no_records_and_cannot_be_committed(
    one: str, manual: dict[str, Any], redis_url: str
) -> None:
    with looping({**manual, "enable.partition.eof": True}, redis_url) as consumer:
        consumer.subscribe([one])
        take(consumer, NUMBER)
        end: Any = consumer.poll(10)
        assert end.error().code() == KafkaError._PARTITION_EOF  # noqa: SLF001
        with pytest.raises(KafkaException):
            consumer.commit(message=end)
        assert consumer.poll(0.2) is None


def test_a_closed_consumer_hands_out_nothing(
    one: str, manual: dict[str, Any], redis_url: str
) -> None:
    consumer = eos.Consumer(manual, ledger=redis_url)
    consumer.subscribe([one])
    take(consumer, 1)
    consumer.close()
    consumer.close()
    with pytest.raises(RuntimeError):
        consumer.poll(0)


# --- the ledger is lost, or away ----------------------------------------------------------


def test_a_flush_between_two_calls_loses_nothing_and_repeats_nothing_unflagged(
    cluster: Cluster, one: str, auto: dict[str, Any], redis_url: str
) -> None:
    with looping(auto, redis_url, batch_records=4) as consumer:
        consumer.subscribe([one])
        found = take(consumer, 5)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        cluster.send(one, [Input("id-2", 0), Input("late", 0)])
        flags = [consumer.claim(m).in_doubt for m in found]
        while "late" not in values(found):
            (message,) = take(consumer, 1)
            found.append(message)
            flags.append(consumer.claim(message).in_doubt)
    seen: set[str] = set()
    for key, flagged in zip(values(found), flags, strict=True):
        assert flagged or key not in seen, (key, values(found))
        seen.add(key)
    assert seen == {f"id-{n}" for n in range(NUMBER)} | {"late"}


def soon_away(stack: Stack) -> str:
    """Name the ledger so that it soon counts as away."""
    return f"{stack.redis_url}?socket_timeout=0.5"


@pytest.mark.parametrize("policy", ["pause", "pass_through", "fail"])
def test_while_the_ledger_hangs_its_policy_holds(
    stack: Stack, cluster: Cluster, one: str, auto: dict[str, Any], policy: str
) -> None:
    with looping(auto, soon_away(stack), ledger_down=policy, batch_records=4) as consumer:
        consumer.subscribe([one])
        take(consumer, NUMBER)
        until(consumer, lambda: committed(cluster, auto, one) == NUMBER, "never settled")
        stack.redis.pause()
        try:
            cluster.send(one, [Input("late", 0)])
            if policy == "fail":
                with pytest.raises(eos.FatalError):
                    take(consumer, 1)
            elif policy == "pass_through":
                assert values(take(consumer, 1)) == ["late"]
            else:
                nothing_comes(consumer, 2)
        finally:
            stack.redis.resume()
        if policy == "pause":
            assert values(take(consumer, 1)) == ["late"]


def test_a_seek_while_the_ledger_hangs_loses_nothing(
    stack: Stack, one: str, manual: dict[str, Any]
) -> None:
    with looping(manual, soon_away(stack), batch_records=4) as consumer:
        consumer.subscribe([one])
        take(consumer, 5)
        consumer.commit(asynchronous=False)
        stack.redis.pause()
        try:
            with pytest.raises((KafkaException, eos.EosError)):
                consumer.seek(TopicPartition(one, 0, 1))
        finally:
            stack.redis.resume()
        rest = values(take(consumer, NUMBER - 5))
        assert rest == [f"id-{n}" for n in range(5, NUMBER)]


# --- interrupts ---------------------------------------------------------------------------


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, as in a terminal: what a shell starts beside itself ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_while_records_are_waited_for_loses_none(
    one: str, auto: dict[str, Any], redis_url: str
) -> None:
    with looping(auto, redis_url) as consumer:
        consumer.subscribe([one])
        found = take(consumer, 2)
        timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            consumer.consume(NUMBER + 5, 20)
        found += take(consumer, NUMBER - 2)
        assert values(found) == [f"id-{n}" for n in range(NUMBER)]


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"isolation.level": "read_uncommitted"}, "isolation.level"),
        ({"group.id": ""}, "group"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    auto: dict[str, Any], redis_url: str, more: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        eos.Consumer({**auto, **more}, ledger=redis_url)


def test_letters_of_the_plain_tier_are_published_once_and_when_their_turn_has_come(
    cluster: Cluster,
    topic: Callable[..., str],
    manual: dict[str, Any],
    redis_url: str,
    read_committed: Read,
) -> None:
    name = topic("conflicts")
    cluster.send(name, [Input("a", 0), Input("b", 0), Input("a", 0, b"another"), Input("c", 0)])
    letters = f"{manual['group.id']}.dead-letters"
    with looping(manual, redis_url) as consumer:
        consumer.subscribe([name])
        take(consumer, 1)
        for _ in range(3):
            consumer.pause([TopicPartition(name, 0)])
            consumer.resume([TopicPartition(name, 0)])
            consumer.poll(0)
        consumer.seek(TopicPartition(name, 0, 1))
        consumer.commit(asynchronous=False)
        assert ids(read_committed(letters)) == []
        assert values(take(consumer, 2)) == ["b", "c"]
        consumer.commit(asynchronous=False)
    assert ids(read_committed(letters)) == ["another"]
    assert wait_until(lambda: committed(cluster, manual, name) == 4, seconds=10)
