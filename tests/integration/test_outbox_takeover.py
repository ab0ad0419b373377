"""A relay that is overtaken while it finds out how far a shard is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.build import relays as build
from eos.core.errors import AbortableError
from eos.core.outbox import SHARDS
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.outbox import ShardLine
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.outbox_kit import RelayProcess, Shop, slots


@pytest.fixture
def shop(cluster: Cluster, topic: Callable[..., str], engine: Engine) -> Shop:
    return Shop(cluster, topic("events", partitions=3), engine, seed=29)


@pytest.fixture
def relays(
    shop: Shop, bootstrap_servers: str, namespace: str, tmp_path: Path
) -> Iterator[list[RelayProcess]]:
    with slots(shop, bootstrap_servers, namespace, tmp_path, 2) as made:
        yield made


def test_a_relay_that_is_overtaken_between_its_two_reads_takes_that_for_no_loss(
    shop: Shop, relays: list[RelayProcess]
) -> None:
    one, other = relays
    shop.write(20)
    other.relay()
    shop.await_published()
    other.drain()
    shop.write(20)
    one.relay(1, "after log.frontiers", action="stop")
    one.await_note("fault")
    other.relay()
    shop.await_published()
    one.go_on()

    def both_work() -> bool:
        shop.write(1)
        return not one.alive or bool(one.shards())

    assert wait_until(both_work, seconds=SECONDS, every=0.1), one.told()
    shop.await_published()
    for relay in relays:
        relay.drain()
    shop.assert_exact()


def test_position_and_progress_of_different_moments_are_no_fatal_mismatch(
    shop: Shop, relays: list[RelayProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, _ = relays

    def publish() -> None:
        shop.write(20)
        relay.relay()
        shop.await_published()
        relay.drain()

    lines: list[ShardLine] = []

    def kept(number: int, *, position: Callable[[], int | None], **others: object) -> ShardLine:
        overtaken: list[bool] = []

        def overtaking() -> int | None:
            found = position()
            if not overtaken:
                overtaken.append(True)
                publish()
            return found

        return ShardLine(number, position=overtaking, **others)  # type: ignore[arg-type]

    def keep(*, line: Callable[..., ShardLine], **_: object) -> None:
        lines.extend(line(number, lambda: None, lambda _event: None) for number in range(SHARDS))

    publish()  # Kafka has positions
    monkeypatch.setattr(build, "ShardLine", kept)
    monkeypatch.setattr(build, "Relay", keep)
    build.relay(Settings(**relay.settings), shop.engine, lambda _event: None, poll=0.2)
    line = lines[0]
    with pytest.raises(AbortableError, match="changes"):
        line.open()
    line.open()
    for each in lines:
        each.close()
    shop.assert_exact()
