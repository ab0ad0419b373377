"""A handler that takes longer than the group waits for a poll keeps its member in the group."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Message

from eos.core.ports import Partition, Ports, Reader
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.kafka.vigil import Vigil
from tests.integration.churn import Effects
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.copies import assert_exactly_once
from tests.integration.lines import Running, step
from tests.integration.processes import quick

INTERVAL = 3.0
"""How long the group waits for a poll."""
CLASSIC = {
    "session.timeout.ms": 1500,
    "heartbeat.interval.ms": 300,
    "max.poll.interval.ms": int(INTERVAL * 1000),
}
WAYS: dict[str, dict[str, Any]] = {
    "eager": {**CLASSIC, "partition.assignment.strategy": "range"},
    "cooperative": CLASSIC,
    "consumer": {"group.protocol": "consumer", "max.poll.interval.ms": int(INTERVAL * 1000)},
}
SLOW = "slow"


class Slow(Effects):
    """A handler that is busy with one record until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, record: Record) -> None:
        """Wait, the first time that the slow record comes; then have the effect."""
        if record.value == SLOW.encode() and not self.busy.is_set():
            self.busy.set()
            assert self.go_on.wait(10 * SECONDS)
        super().__call__(record)

    def send(self, record: Record) -> Send:
        """Do the same, and send what came."""
        self(record)
        return Send(record.value)


@pytest.fixture
def handler() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go_on.set()  # or a line of a test that failed would never end


@pytest.fixture
def settings(way: str, bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace, kafka=WAYS[way]))


@pytest.fixture
def inputs() -> list[Input]:
    """Ten records for each partition; one of them is slow."""
    made = [Input(f"id-{n}", n % 2) for n in range(20)]
    made[7] = Input(SLOW, 1)
    return made


class Pair:
    """Two workers that share a handler; what the group gave each of them can be looked at."""

    def __init__(self, settings: Settings, source: str, to: str | None, handler: Slow) -> None:
        self._readers: dict[int, Reader] = {}
        function = handler.send if to else handler
        self.first, self.second = (
            Running(settings, [step(source, to, function)], wrap, slot)
            for slot, wrap in enumerate([self._wrap(0), self._wrap(1)])
        )

    def _wrap(self, slot: int) -> Callable[[Ports], None]:
        def wrap(ports: Ports) -> None:
            self._readers[slot] = ports.reader

        return wrap

    def assigned(self) -> list[set[Partition]]:
        """Give the partitions of each."""
        return [set(reader.assigned()) for _, reader in sorted(self._readers.items())]

    def is_even(self) -> bool:
        """Tell whether each of them has one."""
        return [len(partitions) for partitions in self.assigned()] == [1, 1]


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without vigil"])
@pytest.mark.parametrize("way", WAYS)
def test_a_member_whose_handler_is_slow_stays_in_the_group_and_the_record_is_handled_once(
    settings: Settings,
    source: str,
    to: str,
    inputs: list[Input],
    cluster: Cluster,
    handler: Slow,
    read_committed: Callable[[str], list[Message]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    broken: bool,
) -> None:
    if broken:
        monkeypatch.setattr(Vigil, "start", lambda _: None)
    workers = Pair(settings, source, to, handler)
    with workers.first, workers.second:
        assert wait_until(workers.is_even, seconds=SECONDS)
        cluster.send(source, inputs)
        assert handler.busy.wait(SECONDS)
        if broken:
            assert wait_until(lambda: SLOW in handler.ids, seconds=SECONDS)
        else:
            before = workers.assigned()
            time.sleep(2 * INTERVAL)  # twice as long as the group waits
            assert workers.assigned() == before
            assert SLOW not in handler.ids
        handler.go_on.set()
        cluster.await_settled(settings.group, source)
    assert handler.ids.count(SLOW) == (2 if broken else 1)
    # Thrown out or not, a partition that is somebody else's is not settled.
    assert_exactly_once(inputs, read_committed(to))


@pytest.mark.parametrize("way", WAYS)
def test_a_partition_that_is_taken_while_its_handler_is_busy_is_settled_once(
    settings: Settings,
    source: str,
    to: str,
    inputs: list[Input],
    cluster: Cluster,
    handler: Slow,
    read_committed: Callable[[str], list[Message]],
) -> None:
    cluster.send(source, inputs)
    workers = Pair(settings, source, to, handler)
    with workers.first:
        assert handler.busy.wait(SECONDS)
        with workers.second as second:
            second.until_assigned(1)  # the group need not wait for the handler
            # Whatever it got, it works on it, while the first one is busy still.
            taken = {number for _, number in second.partitions()}
            assert wait_until(lambda: settled(cluster, settings, source, taken), seconds=SECONDS)
            handler.go_on.set()
            cluster.await_settled(settings.group, source)
    assert_exactly_once(inputs, read_committed(to))


@pytest.mark.parametrize("way", WAYS)
def test_an_effect_of_a_partition_that_is_taken_meanwhile_is_repeated_only_with_a_flag(
    settings: Settings, source: str, inputs: list[Input], cluster: Cluster, handler: Slow
) -> None:
    cluster.send(source, inputs)
    workers = Pair(settings, source, None, handler)
    with workers.first:
        assert handler.busy.wait(SECONDS)
        with workers.second as second:
            second.until_assigned(1)
            taken = {number for _, number in second.partitions()}
            assert wait_until(lambda: settled(cluster, settings, source, taken), seconds=SECONDS)
            handler.go_on.set()
            cluster.await_settled(settings.group, source)
    unflagged = [(r.value or b"").decode() for r in handler.done if not r.in_doubt]
    assert sorted(set(handler.ids)) == sorted({str(each.id) for each in inputs})
    assert len(unflagged) == len(set(unflagged))


def settled(cluster: Cluster, settings: Settings, source: str, numbers: set[int]) -> bool:
    """Tell whether all that stands in these partitions is settled."""
    found, ends = cluster.committed(settings.group, source), cluster.ends(source)
    return all(found.get(number) == ends[number] for number in numbers)
