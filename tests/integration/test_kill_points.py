"""A worker that dies before or after any call of the line loses nothing and repeats nothing.

A crash point is a call through a port. The worker dies in the middle of its work, not at its
first transaction, with records in its hands.
"""

from collections.abc import Callable, Iterator
from itertools import cycle, product
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.fault.rows import rows
from tests.integration.cluster import Cluster, Input
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.processes import Worker, fault, quick

DISTINCT = 90
POINTS = [
    ("ledger", "claim", 6),
    ("transactions", "begin", 3),
    ("transactions", "produce", 22),  # in the middle of the third or the fourth transaction
    ("transactions", "send_offsets", 3),
    ("ledger", "confirm", 3),
    ("transactions", "commit", 3),
]
WHEN = ["before", "after"]


@pytest.fixture
def workers(
    bootstrap_servers: str, redis_url: str, namespace: str, source: str, to: str, tmp_path: Path
) -> Iterator[tuple[Worker, Worker]]:
    settings = quick(bootstrap_servers, redis_url, namespace)
    with (
        Worker(settings, source, to, tmp_path / "first") as first,
        Worker(settings, source, to, tmp_path / "other", slot=1) as other,
    ):
        yield first, other


@pytest.fixture
def worker(workers: tuple[Worker, Worker]) -> Worker:
    return workers[0]


@pytest.fixture
def other(workers: tuple[Worker, Worker]) -> Worker:
    return workers[1]


def dies_in_the_middle(worker: Worker, port: str, method: str, when: str, call: int) -> None:
    """Run the worker into its fault, and see that it died right there, with work in hand."""
    worker.start(fault(port, method, when, call))
    assert worker.exit_code() == -9, worker.told()
    (death,) = worker.notes("fault")
    assert death["where"] == f"{when} {method}"
    assert death["held"] > 0
    assert worker.notes("Committed"), "it died before anything was settled"


@pytest.mark.parametrize(
    ("point", "when"), rows(zip(POINTS, cycle(WHEN), strict=False), product(POINTS, WHEN))
)
def test_a_worker_that_dies_at_any_call_and_comes_back_loses_and_repeats_nothing(
    worker: Worker,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    namespace: str,
    point: tuple[str, str, int],
    when: str,
) -> None:
    port, method, call = point
    inputs = with_copies(POINTS.index(point), DISTINCT)
    cluster.send(worker.source, inputs)

    dies_in_the_middle(worker, port, method, when, call)
    unsettled = cluster.committed(namespace, worker.source)
    assert unsettled != cluster.ends(worker.source)
    worker.start()
    cluster.await_settled(namespace, worker.source)
    worker.drain()

    assert_exactly_once(inputs, read_committed(worker.to))


@pytest.mark.parametrize(
    ("port", "method", "when", "call"),
    rows(
        [("transactions", "commit", "before", 3)],
        [("ledger", "confirm", "before", 3), ("transactions", "commit", "before", 3)],
    ),
)
def test_another_worker_takes_over_from_one_that_died_and_does_not_come_back(
    worker: Worker,
    other: Worker,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    namespace: str,
    port: str,
    method: str,
    when: str,
    call: int,
) -> None:
    inputs = with_copies(call, DISTINCT)
    cluster.send(worker.source, inputs)

    # Its transaction stays open until the broker gives it up; until then nobody knows whether
    # its records are settled, and nobody may handle them.
    dies_in_the_middle(worker, port, method, when, call)
    late = [Input(f"late-{n}", n % 2) for n in range(10)]
    cluster.send(worker.source, late)
    other.start()
    cluster.await_settled(namespace, worker.source)
    other.drain()

    assert_exactly_once([*inputs, *late], read_committed(worker.to))


def test_a_ledger_that_remembers_keys_and_not_their_owners_loses_what_a_dead_worker_held(
    worker: Worker,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    namespace: str,
) -> None:
    inputs = with_copies(0, DISTINCT)
    cluster.send(worker.source, inputs)
    worker.broken = "seen set"

    dies_in_the_middle(worker, "ledger", "claim", "after", 6)
    worker.start()
    cluster.await_settled(namespace, worker.source)
    worker.drain()

    with pytest.raises(AssertionError, match="lost=\\['id-"):
        assert_exactly_once(inputs, read_committed(worker.to))
