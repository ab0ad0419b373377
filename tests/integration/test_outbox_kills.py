"""`kill -9` of a relay between each two of its steps: each committed row is published once."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration import outbox_broken as broken
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.outbox_kit import RelayProcess, Shop, slots

FEW = [
    (2, "before transactions.commit"),
    (2, "after transactions.commit"),
    (3, "after transactions.send_offsets"),
    (2, "after DELETE FROM eos_outbox"),
    (3, "before UPDATE eos_outbox_shards"),
    (7, "after do_commit"),
    (40, ""),
]
FEW_WITH_LARGE_ONES = [
    (1, "after transactions.produce"),
    (1, "before INSERT INTO eos_outbox_dead"),
    (1, "after INSERT INTO eos_outbox_dead"),
    (25, ""),
]
ALL = [(step, "") for step in range(1, 161, 2)]


@pytest.fixture
def shop(cluster: Cluster, topic: Callable[..., str], engine: Engine) -> Shop:
    return Shop(cluster, topic("events", partitions=3), engine, seed=17)


@pytest.fixture
def relay(
    shop: Shop, bootstrap_servers: str, namespace: str, tmp_path: Path
) -> Iterator[RelayProcess]:
    with slots(shop, bootstrap_servers, namespace, tmp_path) as [made]:
        yield made


def dies(shop: Shop, relay: RelayProcess, step: int, where: str) -> None:
    """Let a relay work until it dies at its n-th step, and give it work until then."""
    shop.write(6)
    relay.relay(step, where)
    while relay.alive:
        if not wait_until(lambda: not relay.alive or shop.is_published(), seconds=SECONDS):
            raise AssertionError(relay.told())
        if relay.alive:
            shop.write(3)
    assert relay.exit_code() == -signal.SIGKILL, relay.told()


@pytest.mark.timeout(1800)
def test_each_row_is_published_once_whatever_statement_or_call_a_relay_dies_at(
    shop: Shop, relay: RelayProcess
) -> None:
    for step, where in rows(FEW, ALL):
        dies(shop, relay, step, where)
    relay.relay()
    shop.await_published()
    relay.drain()
    shop.assert_exact()
    print(dict(sorted(Counter(n["where"] for n in relay.notes("fault")).items())))  # noqa: T201


@pytest.mark.timeout(1800)
def test_each_row_is_published_or_dead_whatever_a_relay_dies_at_while_it_looks_for_bad_ones(
    shop: Shop, relay: RelayProcess, topic: Callable[..., str]
) -> None:
    shop.narrow = topic("narrow", max_message_bytes="2000")
    for step, where in rows(FEW_WITH_LARGE_ONES, ALL):
        dies(shop, relay, step, where)
    relay.relay()
    shop.await_published()
    relay.drain()
    shop.assert_exact()
    assert shop.doomed
    print(dict(sorted(Counter(n["where"] for n in relay.notes("fault")).items())))  # noqa: T201


def test_a_commit_whose_answer_or_request_is_lost_is_found_out_about(
    shop: Shop, relay: RelayProcess
) -> None:
    relay.broken = broken.LOST_ANSWERS
    relay.relay()
    for _ in range(20):
        shop.write(2)
        shop.await_published()
    relay.drain()
    shop.assert_exact()
    causes = {note["cause"] for note in relay.notes("ShardStopped")}
    assert causes == {"unknown_outcome"}


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_client_that_does_not_come_back_from_a_call_is_let_go_and_disturbs_nobody_later(
    shop: Shop, relay: RelayProcess
) -> None:
    relay.broken = broken.HANGS
    relay.relay()

    def several() -> bool:
        shop.write(2)
        return len(relay.notes("ShardStopped")) >= 6

    assert wait_until(several, seconds=SECONDS, every=0.2), relay.told()
    shop.await_published()
    relay.drain()
    shop.assert_exact()
    assert {"server_away"} <= {note["cause"] for note in relay.notes("ShardStopped")}
    assert any("does not come back" in note["detail"] for note in relay.notes("ShardStopped"))


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("how", "where", "found"),
    [
        (broken.MARKS_FIRST, "after transactions.produce", r"lost=\['id-"),
        (broken.NO_POSITION, "after transactions.commit", r"twice=\{'id-"),
    ],
)
def test_a_broken_relay_is_found_out(
    shop: Shop, relay: RelayProcess, how: str, where: str, found: str
) -> None:
    relay.broken = how
    dies(shop, relay, 20, where)  # the first commits of each shard put its position there
    relay.relay()
    shop.await_published()
    relay.drain()
    with pytest.raises(AssertionError, match=found):
        shop.assert_exact()
