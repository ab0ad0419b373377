"""Messages that are to be published at a time, and not before."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

import eos
from tests.integration.cluster import Cluster
from tests.integration.outbox_door_kit import await_that, column, count, published, relaying


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("orders")


def test_what_was_due_while_no_relay_ran_is_published_in_the_order_of_its_times(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    outbox, overdue = eos.Outbox(engine), time.time() - 60
    with engine.begin() as db:
        outbox.add(db, to, "missed 2", key="k", deliver_at=overdue + 1)
        outbox.add(db, to, "missed 1", key="k", deliver_at=overdue)
        outbox.add(db, to, "far", key="k", deliver_at=datetime.now(UTC) + timedelta(days=400))
    with relaying(bootstrap_servers, namespace, engine):
        await_that(lambda: count(engine, "eos_outbox_scheduled") == 1, "what was due")
        await_that(lambda: len(published(cluster, to)) == 2, "its messages")
    assert published(cluster, to) == ["missed 1", "missed 2"]
    assert column(engine, "value", "eos_outbox_scheduled") == [b"far"]


def test_what_is_scheduled_is_published_when_it_is_due_and_not_before(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    outbox = eos.Outbox(engine)
    with relaying(bootstrap_servers, namespace, engine) as relay:
        await_that(relay.has_all, "the relay to begin")
        due = time.time() + 3
        with engine.begin() as db:
            outbox.add(db, to, "second", key="k", deliver_at=due + 0.5)
            outbox.add(db, to, "first", key="k", deliver_at=datetime.fromtimestamp(due, UTC))
            outbox.add(db, to, "now", key="k")
        await_that(lambda: len(published(cluster, to)) == 3, "what is due meanwhile")
    assert published(cluster, to) == ["now", "first", "second"]
    _, first, second = (message.timestamp()[1] for message in cluster.read_committed(to))
    assert first >= int(due * 1000)
    assert second >= int((due + 0.5) * 1000)


def test_what_is_scheduled_in_a_transaction_that_is_rolled_back_is_never_published(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    outbox, due = eos.Outbox(engine), time.time() + 1
    with engine.connect() as db:
        outbox.add(db, to, "never", key="k", deliver_at=due)
        db.rollback()
    with engine.begin() as db:
        outbox.add_all(db, [eos.Send(value, to, "k") for value in ("1", "2")], deliver_at=due)
    with relaying(bootstrap_servers, namespace, engine):
        await_that(lambda: len(published(cluster, to)) == 2, "what was kept")
    assert published(cluster, to) == ["1", "2"]
    assert count(engine, "eos_outbox_scheduled") == 0
