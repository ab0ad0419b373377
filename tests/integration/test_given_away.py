"""A partition is given away while its handler is busy: the rest of the batch is left alone."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Message

from eos.core.events import GivenAway
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from tests.integration.churn import Effects
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.copies import assert_exactly_once
from tests.integration.lines import Running, step
from tests.integration.processes import quick

INTERVAL = 3.0
"""How long the group waits for a poll; the vigil polls after a third of it."""
FEW, MANY = 4, 50


class Busy(Effects):
    """A handler that stays with a record, wherever a whole batch has come, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, record: Record) -> None:
        """Have the effect."""
        super().__call__(record)
        if record.offset == FEW:  # more of its partition is in the batch
            self.busy.set()
            assert self.go_on.wait(10 * SECONDS)

    def send(self, record: Record) -> Send:
        """Do the same, and send what came."""
        self(record)
        return Send(record.value)


@pytest.fixture
def busy() -> Iterator[Busy]:
    made = Busy()
    yield made
    made.go_on.set()


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    kafka = {
        "session.timeout.ms": 1500,
        "heartbeat.interval.ms": 300,
        "max.poll.interval.ms": int(INTERVAL * 1000),
        # All partitions are taken before one is given: the first one loses both.
        "partition.assignment.strategy": "range",
    }
    made = Settings(**quick(bootstrap_servers, redis_url, namespace, kafka=kafka))
    return replace(made, batch_records=100)


@pytest.mark.parametrize("plain", [False, True], ids=["transaction", "plain"])
def test_the_rest_of_a_batch_is_left_to_the_new_owner_of_its_partition(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    busy: Busy,
    read_committed: Callable[[str], list[Message]],
    *,
    plain: bool,
) -> None:
    inputs = [Input(f"id-{p}-{n}", p) for n in range(MANY) for p in range(2)]
    cluster.send(source, inputs)
    others = Effects()

    def others_send(record: Record) -> Send:
        others(record)
        return Send(record.value)

    first = step(source, None, busy) if plain else step(source, to, busy.send)
    second = step(source, None, others) if plain else step(source, to, others_send)
    with Running(settings, [first]) as slow:
        assert busy.busy.wait(SECONDS)
        with Running(settings, [second], slot=1) as quick_one:
            quick_one.until_assigned(1)
            taken = {number for _, number in quick_one.partitions()}

            def is_done() -> bool:
                found, ends = cluster.committed(settings.group, source), cluster.ends(source)
                return all(found.get(number) == ends[number] for number in taken)

            assert wait_until(is_done, seconds=SECONDS)
            handled = len(busy.done)
            at = busy.done[-1]
            busy.go_on.set()
            slow.until(lambda line: line.saw(GivenAway), "a word about what it lost")
            cluster.await_settled(settings.group, source)
        rest = [r for r in busy.done[handled:] if r.partition == at.partition in taken]
    assert not rest
    if plain:
        done = [(r.value or b"").decode() for r in [*busy.done, *others.done] if not r.in_doubt]
        assert len(done) == len(set(done))
        assert {*busy.ids, *others.ids} == {str(each.id) for each in inputs}
    else:
        assert_exactly_once(inputs, read_committed(to))
