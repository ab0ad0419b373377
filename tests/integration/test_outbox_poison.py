"""Rows that Kafka will not take are put aside, each with its reason, and hold nothing else up."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

import eos
from eos.core.events import RowBuried, ShardStopped
from tests.integration.cluster import Cluster
from tests.integration.outbox_door_kit import (
    add,
    await_empty,
    await_that,
    column,
    count,
    published,
    relaying,
)

GOOD = [f"row {number}" for number in range(199)]


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


def buried(engine: Engine, brokers: str, namespace: str) -> list[RowBuried]:
    """Relay until nothing is left, and give what was put aside."""
    with relaying(brokers, namespace, engine) as relay:
        await_empty(engine)
    return relay.told(RowBuried)


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
@pytest.mark.parametrize("at", [0, 77, 199])
def test_one_row_that_is_too_large_for_its_topic_is_found_among_many(
    engine: Engine,
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
    at: int,
) -> None:
    to = topic("small", max_message_bytes="2000")
    add(engine, to, *GOOD[:at], "x" * 5000, *GOOD[at:])
    [found] = buried(engine, bootstrap_servers, namespace)
    assert published(cluster, to) == GOOD
    assert [len(value) for value in column(engine, "value", "eos_outbox_dead")] == [5000]
    assert found.reason == "rejected"
    [reason] = column(engine, "reason", "eos_outbox_dead")
    assert "Message size too large" in reason
    assert to in reason


def test_one_row_without_a_key_is_found_among_many_for_a_compacted_topic(
    engine: Engine,
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
) -> None:
    to = topic("latest", cleanup_policy="compact")
    bad = eos.Send("of nobody", to)
    outbox = eos.Outbox(engine)
    # Without a key the id decides on the shard: one of the four shares it with the others.
    ids = [f"id {number}" for number in range(4)]
    with engine.begin() as db:
        outbox.add_all(db, [eos.Send(value, to, "k") for value in GOOD[:100]])
        for given in ids:
            outbox.add(db, to, bad.value, id=given)
        outbox.add_all(db, [eos.Send(value, to, "k") for value in GOOD[100:]])
    found = buried(engine, bootstrap_servers, namespace)
    assert published(cluster, to) == GOOD
    assert column(engine, "message_id", "eos_outbox_dead") == ids
    assert {each.reason for each in found} == {"rejected"}


def test_a_row_that_no_topic_can_take_is_put_aside_before_it_is_sent(
    engine: Engine,
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
) -> None:
    to = topic("orders")
    add(engine, to, *GOOD[:3], "x" * 1_100_000, *GOOD[3:])
    [found] = buried(engine, bootstrap_servers, namespace)
    assert published(cluster, to) == GOOD
    assert found.reason == "too_large"
    assert "message.max.bytes is 1000000" in column(engine, "reason", "eos_outbox_dead")[0]


def test_rows_for_a_topic_that_does_not_exist_are_put_aside_and_the_others_are_published(
    engine: Engine,
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
) -> None:
    to = topic("orders")
    add(engine, to, *GOOD[:5])
    add(engine, f"{to}-misspelt", "lost?")
    add(engine, to, *GOOD[5:10])
    [found] = buried(engine, bootstrap_servers, namespace)
    assert published(cluster, to) == GOOD[:10]
    assert found.reason == "unknown_topic"
    assert column(engine, "value", "eos_outbox_dead") == [b"lost?"]
    assert f"'{to}-misspelt' does not exist" in column(engine, "reason", "eos_outbox_dead")[0]


def test_a_topic_that_is_made_in_time_is_waited_for(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str
) -> None:
    to = f"late-{namespace}"
    add(engine, to, *GOOD[:10])
    with relaying(bootstrap_servers, namespace, engine) as relay:
        await_that(lambda: bool(relay.told(ShardStopped)), "the relay to miss the topic")
        cluster.create_named(to)
        await_empty(engine)
    assert published(cluster, to) == GOOD[:10]
    assert not relay.told(RowBuried)
    assert count(engine, "eos_outbox_dead") == 0


def test_rows_for_a_topic_that_was_deleted_meanwhile_are_put_aside(
    engine: Engine,
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
) -> None:
    to, other = topic("gone"), topic("stays")
    with relaying(bootstrap_servers, namespace, engine) as relay:
        add(engine, to, "before")
        await_empty(engine)
        cluster.delete(to)
        add(engine, to, "behind")
        add(engine, other, "others")
        await_that(lambda: count(engine, "eos_outbox_dead") == 1, "the row to be put aside", 120)
        await_empty(engine)
    assert [each.reason for each in relay.told(RowBuried)] == ["unknown_topic"]
    assert published(cluster, other) == ["others"]


def test_rows_added_while_a_bad_one_is_looked_for_keep_their_order(
    engine: Engine,
    cluster: Cluster,
    topic: Callable[..., str],
    bootstrap_servers: str,
    namespace: str,
) -> None:
    to = topic("small", max_message_bytes="2000")
    values = [f"row {number}" for number in range(300)]

    def write() -> None:
        for number, value in enumerate(values):
            add(engine, to, value, *(["x" * 3000] if number % 60 == 30 else []))

    with relaying(bootstrap_servers, namespace, engine) as relay:
        writing = threading.Thread(target=write)
        writing.start()
        writing.join()
        await_empty(engine)
    assert published(cluster, to) == values
    assert len(relay.told(RowBuried)) == count(engine, "eos_outbox_dead") == 5
