"""What relays tell of an outbox: on `/metrics`, and so that several of them add up."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

import eos
from eos.core.events import OutboxCounted, ShardOpened
from eos.core.outbox import SHARDS
from tests.integration.outbox_door_command import Told, relay_command, samples
from tests.integration.outbox_door_kit import (
    Running,
    add,
    await_empty,
    await_that,
    count,
    now,
    relay_app,
)


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("orders")


def schedule(engine: Engine, to: str, rows: int) -> None:
    """Add messages that wait for an hour."""
    with engine.begin() as db:
        eos.Outbox(engine).add_all(
            db, [eos.Send("later", to) for _ in range(rows)], deliver_at=now() + 3600
        )


def counted(relay: Running) -> int:
    """Give how many scheduled rows a relay told of last."""
    told = relay.told(OutboxCounted)
    return told[-1].scheduled if told else 0


def test_a_relay_serves_what_it_published_put_aside_and_left(
    engine: Engine, bootstrap_servers: str, namespace: str, to: str
) -> None:
    group = f'group="{namespace}.relay"'
    with relay_command(engine, bootstrap_servers, namespace) as process:
        port = Told(process).find(r"serving /metrics.*port=(\d+)").group(1)
        add(engine, to, *(str(number) for number in range(10)), "x" * 1_100_000)
        schedule(engine, to, 3)
        await_empty(engine)

        def told(name: str) -> float | None:
            return samples(port).get(f"eos_outbox_{name}")

        await_that(lambda: told(f"dead_rows{{{group}}}") == 1, "the rows to be counted")
        assert told(f"scheduled_rows{{{group}}}") == 3
        assert told(f"rows{{{group}}}") == 0
        assert told(f"oldest_seconds{{{group}}}") == 0
        found = samples(port)
        name = f"eos_outbox_published_total{{{group},shard="
        assert sum(value for series, value in found.items() if series.startswith(name)) == 10
        assert told(f'dead_total{{{group},reason="too_large"}}') == 1
        assert told(f'dead_total{{{group},reason="rejected"}}') == 0
        assert (told(f"takeovers_total{{{group}}}") or 0) >= SHARDS
        assert told(f"batch_rows_sum{{{group}}}") == 10
        batches = told(f"batch_rows_count{{{group}}}")
        assert batches
        assert told(f"publish_duration_seconds_count{{{group}}}") == batches
        assert told(f"wait_seconds_count{{{group}}}") == batches
    assert count(engine, "eos_outbox_dead") == 1


def test_rows_are_counted_by_one_relay_whoever_has_the_first_shard(
    engine: Engine, bootstrap_servers: str, namespace: str, to: str
) -> None:
    schedule(engine, to, 5)
    app = relay_app(bootstrap_servers, namespace, engine)
    first = Running(app)
    await_that(lambda: counted(first) == 5, "the rows to be counted")
    second = Running(relay_app(bootstrap_servers, namespace, engine))
    await_that(lambda: bool(second.told(ShardOpened)), "the second relay to get a shard")
    await_that(lambda: counted(first) + counted(second) == 5, "one of them to count")
    first.stop()
    assert counted(first) == 0
    await_that(lambda: counted(second) == 5, "the one that is left to count")
    second.stop()
    assert counted(second) == 0
    assert (first.failure, second.failure) == (None, None)
