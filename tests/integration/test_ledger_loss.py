"""The ledger may lose anything at any moment; the log may not."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import redis
from confluent_kafka import Message

from eos.core.events import Aborted, Committed, Recovered, Waiting
from eos.core.ports import Ports
from eos.core.record import Record, Send, Shard
from eos.core.settings import Settings
from eos.devstack import Stack
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.testing.faults import Fault, faulty
from tests.fault.rows import rows
from tests.integration.broken import break_
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.lines import Running, step, unchanged

DISTINCT = 120


def flush(url: str) -> Callable[[], None]:
    """Make an action that empties the whole server, as a wrong click does."""

    def action() -> None:
        with redis.Redis.from_url(url) as client:
            client.flushall()

    return action


FLUSHES = [
    ("claim", "before", 4),  # between two batches
    ("claim", "after", 4),  # what was claimed is lost before it is settled
    ("confirm", "before", 3),  # in an open transaction, the offsets are sent already
    ("confirm", "after", 3),  # too late for this transaction to notice
    ("take", "after", 1),  # the epochs are lost
]


@pytest.mark.parametrize(
    ("method", "when", "call"), rows([FLUSHES[1], FLUSHES[2], FLUSHES[4]], FLUSHES)
)
def test_a_point_any_point_loses_and_repeats_nothing(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    method: str,
    when: Any,
    call: int,
) -> None:
    inputs = with_copies(call, DISTINCT)
    cluster.send(source, inputs)

    def wrap(ports: Ports) -> None:
        fault = Fault(method, when, call, flush(settings.ledger))
        ports.ledger = faulty(ports.ledger, fault)

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    recovered = line.saw(Recovered)
    assert all(event.cause == "closed" for event in recovered)
    assert len(recovered) == (1 if method == "take" else 2)  # one for the very first start
    assert sum(event.records for event in recovered) > 0 or method == "take"


def test_a_flush_before_every_fifth_claim_loses_and_repeats_nothing(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
) -> None:
    inputs = with_copies(5, 2 * DISTINCT)
    cluster.send(source, inputs)

    def wrap(ports: Ports) -> None:
        faults = [Fault("claim", "before", n, flush(settings.ledger)) for n in range(5, 100, 5)]
        ports.ledger = faulty(ports.ledger, *faults)

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    assert len(line.saw(Recovered)) > 3


@pytest.mark.parametrize(
    ("how", "point"),
    rows(
        [("restart", FLUSHES[2]), ("kill", FLUSHES[1])],
        product(["restart", "kill"], FLUSHES[1:3]),
    ),
)
def test_a_ledger_server_that_comes_back_with_its_data_is_trusted_after_a_look_at_the_log(
    stack: Stack,
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    how: str,
    point: tuple[str, Any, int],
) -> None:
    method, when, call = point
    inputs = with_copies(call, DISTINCT)
    cluster.send(source, inputs)

    def come_back() -> None:
        if how == "restart":
            stack.redis.restart()
        else:
            stack.redis.kill()
            stack.redis.start()

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, Fault(method, when, call, come_back))

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    assert [event.cause for event in line.saw(Recovered)] == ["closed", "closed"]
    assert line.saw(Aborted)


def test_a_worker_that_was_killed_while_it_recovered_is_no_obstacle_for_ever(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
) -> None:
    inputs = with_copies(7, DISTINCT)
    cluster.send(source, inputs)
    shards: list[Shard] = []

    def wrap(ports: Ports) -> None:
        ledger = ports.ledger

        def leave_a_lock() -> None:
            # What a dead worker leaves behind, though for a shorter time than it asked for.
            flush(settings.ledger)()
            assert ledger.lock(shards[0], "the dead worker", 3.0)

        original = ledger.claim

        class Noting:
            def __getattr__(self, name: str) -> Any:
                return getattr(ledger, name)

            def claim(self, shard: Shard, batch: Any) -> Any:
                shards.append(shard)
                return original(shard, batch)

        noting: Any = Noting()
        ports.ledger = faulty(noting, Fault("claim", "after", 4, leave_a_lock))

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    assert any(event.on == "recovery" for event in line.saw(Waiting))


# --- what confirm and the stable read are for --------------------------------------------
#
# Two workers, a partition each. One key, a copy on each partition.
#
# 1. A claims its copy: it owns the key. A is held up.
# 2. The ledger loses everything.
# 3. B recovers the ledger from the log, where A's record is not settled, and claims its copy.
# 4. A goes on.


class Story:
    """Brings the interleaving about.

    Args:
        settings: Of both workers.
        source: The topic to read, of two partitions.
        to: The topic to write.
        cluster: The cluster.
        hold_at: Where A is held up: in the `handler`, or before the `commit`.
        wrap: Breaks the ports of both workers, if they are to be broken.
        goes_on: What A waits for before it goes on, as B tells it.
    """

    def __init__(
        self,
        settings: Settings,
        source: str,
        to: str,
        cluster: Cluster,
        *,
        hold_at: str,
        wrap: Callable[[Ports], None] = unchanged,
        goes_on: Callable[[Running], object] = lambda b: b.saw(Committed),
    ) -> None:
        # Both are members before anything happens, and stay so: no rebalance interferes.
        calm = {**settings.kafka, "session.timeout.ms": 30_000}
        self.settings, self.source, self.cluster = replace(settings, kafka=calm), source, cluster
        self.hold_at, self.goes_on = hold_at, goes_on
        self.armed, self.held, self.release = (threading.Event() for _ in range(3))

        def wrap_a(ports: Ports) -> None:
            wrap(ports)
            hold = Fault("commit", "before", None, lambda: self.hold("commit"))
            ports.transactions = faulty(ports.transactions, hold)

        def handle_a(record: Record) -> Send:
            self.hold("handler")
            return Send(record.value)

        self.a = Running(self.settings, [step(source, to, handle_a)], wrap_a)
        self.b = Running(self.settings, [step(source, to)], wrap, slot=1)

    def hold(self, where: str) -> None:
        """Hold A up, in A's own thread, at the first call after it was armed."""
        if where == self.hold_at and self.armed.is_set() and not self.held.is_set():
            self.held.set()
            assert self.release.wait(60)

    def tell(self) -> None:
        """Tell the story."""
        with ExitStack() as running:
            running.enter_context(self.a).until_assigned(2)
            running.enter_context(self.b).until_assigned(1)
            ((_, of_b),) = self.b.partitions()
            self.cluster.send(self.source, [Input("warm-0", 0), Input("warm-1", 1)])
            for line in (self.a, self.b):
                line.until(lambda line: line.saw(Committed), "the first commit")
            self.armed.set()
            self.play(of_b)
            self.release.set()  # 4
            self.cluster.await_settled(self.settings.group, self.source)

    def play(self, of_b: int) -> None:
        """Bring about what is between the warm-up and A's going on; B has this partition."""
        self.cluster.send(self.source, [Input("key", 1 - of_b)])  # 1
        assert self.held.wait(SECONDS)
        flush(self.settings.ledger)()  # 2
        self.send_to_b("key", of_b)  # 3

    def send_to_b(self, key: str, partition: int) -> None:
        """Send B a record, and wait until B has come so far."""
        calm = len(self.b.events)
        self.cluster.send(self.source, [Input(key, partition)])
        self.b.until(lambda b: self.goes_on(replace(b, events=b.events[calm:])), "B to come so far")


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without confirm"])
def test_a_claim_that_was_lost_is_not_committed_because_confirm_sees_it(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    *,
    broken: bool,
) -> None:
    def wrap(ports: Ports) -> None:
        if broken:
            break_("no confirm", ports, settings)

    story = Story(settings, source, to, cluster, hold_at="handler", wrap=wrap)
    story.tell()

    assert ids(read_committed(to)).count("key") == (2 if broken else 1)
    assert bool([e for e in story.a.saw(Aborted) if e.cause == "ledger_resealed"]) is not broken


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without stable reads"])
def test_recovery_waits_for_a_commit_that_is_under_way(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    *,
    broken: bool,
) -> None:
    def wrap(ports: Ports) -> None:
        if broken:
            reading = config.consumer(settings) | {"isolation.level": "read_uncommitted"}
            ports.log = lambda: KafkaLog(reading, ports.topics)

    kind = Committed if broken else Waiting
    story = Story(
        settings, source, to, cluster, hold_at="commit", wrap=wrap, goes_on=lambda b: b.saw(kind)
    )
    story.tell()

    assert ids(read_committed(to)).count("key") == (2 if broken else 1)
