"""Copies across partitions, two workers, one PostgreSQL: who owns a key is never in question."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, create_engine, text

from eos.core.events import Aborted, Waiting
from eos.core.record import Record
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.handle import Step
from eos.stores.sql import tables
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.lines import Running
from tests.integration.processes import quick
from tests.integration.worker import insert


@pytest.fixture
def into(postgres_url: str) -> str:
    return postgres_url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def engine(into: str) -> Iterator[Engine]:
    made = create_engine(into)
    tables.create(made)
    with made.begin() as db:
        db.execute(text("CREATE TABLE effects (id VARCHAR(50), position VARCHAR(100))"))
    yield made
    made.dispose()


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders", partitions=2)


class Held:
    """A handler that stops at the first record of a partition until it may go on."""

    def __init__(self) -> None:
        self.begun, self.free = threading.Event(), threading.Event()
        self.failures: list[Exception] = []

    def __call__(self, record: Record, db: Any) -> None:
        if record.value == b"held" and not self.begun.is_set():
            self.begun.set()
            assert self.free.wait(SECONDS)
            if self.failures:
                raise self.failures.pop()
        insert(record, db)


def waits(line: Running) -> bool:
    return any(event.on == "database" for event in line.saw(Waiting))


def found(engine: Engine, table: str = "effects") -> Counter[str]:
    column = "id" if table == "effects" else "verdict"
    with engine.connect() as db:
        return Counter(db.execute(text(f"SELECT {column} FROM {table}")).scalars())  # noqa: S608


@pytest.fixture
def pair(
    bootstrap_servers: str, namespace: str, source: str, into: str
) -> Callable[[str, Held], tuple[Running, Running]]:
    """Two workers, of which each will have one partition; the second one has not begun."""

    def make(ledger: str, held: Held) -> tuple[Running, Running]:
        settings = Settings(**quick(bootstrap_servers, ledger, namespace))
        steps = [Step(source, None, held, batch=False, name="insert", into=into)]
        return Running(settings, steps), Running(settings, steps, slot=1)

    return make


@contextmanager
def each_with_one(one: Running, two: Running) -> Iterator[None]:
    """Run both, with a partition each."""
    with one:
        one.until_assigned(2)
        with two:
            two.until_assigned(1)
            yield


def test_a_copy_that_was_suppressed_for_a_record_in_flight_never_becomes_its_owner(
    pair: Callable[[str, Held], tuple[Running, Running]],
    source: str,
    engine: Engine,
    cluster: Cluster,
    namespace: str,
    redis_url: str,
) -> None:
    # 1. A is claimed, and being handled. 2. B, its copy, is suppressed and settled. 3. The ledger
    # is lost, with A as the owner. Whoever recovers it finds B settled, and A not.
    held = Held()
    one, two = pair(redis_url, held)
    with each_with_one(one, two):
        cluster.send(source, [Input("held", 0)])
        assert held.begun.wait(SECONDS)
        cluster.send(source, [Input("held", 1)])
        copied = wait_until(
            lambda: cluster.committed(namespace, source).get(1) == 1, seconds=SECONDS
        )
        assert copied, two.told()
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        held.free.set()
        cluster.await_settled(namespace, source)
        causes = {event.cause for line in (one, two) for event in line.saw(Aborted)}
        assert "ledger_resealed" in causes

    assert found(engine) == {"held": 1}
    assert found(engine, "eos_suppressed") == {"duplicate": 1}


@pytest.mark.parametrize("fails", [False, True])
def test_a_claim_waits_for_another_one_of_the_same_key(
    pair: Callable[[str, Held], tuple[Running, Running]],
    source: str,
    into: str,
    engine: Engine,
    cluster: Cluster,
    namespace: str,
    fails: bool,
) -> None:
    held = Held()
    if fails:
        held.failures.append(ValueError("once"))
    one, two = pair(into, held)
    with each_with_one(one, two):
        cluster.send(source, [Input("held", 0)])
        assert held.begun.wait(SECONDS)
        cluster.send(source, [Input("held", 1)])
        assert wait_until(lambda: waits(one) or waits(two), seconds=SECONDS), two.told()
        assert found(engine) == {}
        held.free.set()
        cluster.await_settled(namespace, source)

    assert found(engine) == {"held": 1}
    assert found(engine, "eos_suppressed") == {"duplicate": 1}
