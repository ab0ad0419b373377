"""A worker that was stopped, and taken for dead, cannot settle what others have settled since."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import Message

from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.processes import Worker, fault, quick

DISTINCT = 60


@pytest.fixture
def workers(
    bootstrap_servers: str,
    redis_url: str,
    namespace: str,
    source: str,
    to: str,
    tmp_path: Path,
) -> Iterator[tuple[Worker, Worker]]:
    """One that becomes a zombie, and one that takes over."""
    settings = quick(bootstrap_servers, redis_url, namespace)
    with (
        Worker(settings, source, to, tmp_path / "zombie") as zombie,
        Worker(settings, source, to, tmp_path / "other", slot=1) as other,
    ):
        yield zombie, other


def stops_in_the_middle(zombie: Worker, port: str, method: str, when: str, call: int) -> None:
    """Run a worker until it stops, with work in hand."""
    zombie.start(fault(port, method, when, call, action="stop"))
    zombie.await_note("fault")
    (stop,) = zombie.notes("fault")
    assert stop["held"] > 0
    assert zombie.notes("Committed"), "it stopped before anything was settled"


@pytest.mark.parametrize(
    ("port", "method", "call"),
    [
        ("transactions", "begin", 3),  # handled, and nothing is open
        ("transactions", "send_offsets", 3),  # produced
        ("transactions", "commit", 3),  # all but committed
    ],
)
def test_a_zombie_cannot_settle(
    workers: tuple[Worker, Worker],
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    namespace: str,
    port: str,
    method: str,
    call: int,
) -> None:
    zombie, other = workers
    inputs = with_copies(call, DISTINCT)
    cluster.send(zombie.source, inputs)

    stops_in_the_middle(zombie, port, method, "before", call)
    other.start()
    cluster.await_settled(namespace, zombie.source)
    zombie.go_on()
    # It notices, gives up what it held, and becomes a useful member again.
    zombie.await_note("Aborted", len(zombie.notes("Aborted")) + 1)
    late = [Input(f"late-{n}", n % 2) for n in range(20)]
    cluster.send(zombie.source, late)
    cluster.await_settled(namespace, zombie.source)
    zombie.drain()
    other.drain()

    assert_exactly_once([*inputs, *late], read_committed(zombie.to))


def test_a_zombie_that_nobody_fences_repeats_what_others_have_done(
    workers: tuple[Worker, Worker],
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    namespace: str,
) -> None:
    zombie, other = workers
    zombie.broken = "unfenced"
    inputs = with_copies(3, DISTINCT)
    cluster.send(zombie.source, inputs)

    stops_in_the_middle(zombie, "transactions", "begin", "before", 3)
    before = len(zombie.notes("Committed"))
    other.start()
    cluster.await_settled(namespace, zombie.source)
    zombie.go_on()
    zombie.await_note("Committed", before + 1)

    with pytest.raises(AssertionError, match=r"twice=\{'id-"):
        assert_exactly_once(inputs, read_committed(zombie.to))


def test_a_worker_that_slept_longer_than_its_transaction_may_last_goes_on(
    workers: tuple[Worker, Worker],
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    namespace: str,
) -> None:
    sleeper, _ = workers
    inputs = with_copies(9, DISTINCT)
    cluster.send(sleeper.source, inputs)

    stops_in_the_middle(sleeper, "transactions", "commit", "before", 3)
    assert cluster.has_open_transaction(namespace, sleeper.source)
    given_up = wait_until(
        lambda: not cluster.has_open_transaction(namespace, sleeper.source), seconds=SECONDS
    )
    assert given_up
    sleeper.go_on()
    cluster.await_settled(namespace, sleeper.source)
    sleeper.drain()

    assert_exactly_once(inputs, read_committed(sleeper.to))
    assert sleeper.notes("ProducerRecreated")


def test_a_worker_that_slept_in_a_transaction_that_it_then_gives_up_goes_on(
    workers: tuple[Worker, Worker],
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    redis_url: str,
    namespace: str,
) -> None:
    sleeper, _ = workers
    inputs = with_copies(10, DISTINCT)
    cluster.send(sleeper.source, inputs)

    stops_in_the_middle(sleeper, "ledger", "confirm", "before", 3)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()  # so that it will not commit when it wakes up
    given_up = wait_until(
        lambda: not cluster.has_open_transaction(namespace, sleeper.source), seconds=SECONDS
    )
    assert given_up
    sleeper.go_on()
    cluster.await_settled(namespace, sleeper.source)
    sleeper.drain()

    assert_exactly_once(inputs, read_committed(sleeper.to))
