"""A commit that nobody answers is resolved: what was committed is not done again, the rest is.

The worker reaches the broker through a fault proxy that knows Kafka's requests.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Message

from eos.core.events import Aborted, Committed, ProducerRecreated
from eos.core.ports import Ports
from eos.core.settings import Settings
from eos.core.supervisor import TABLE, Seen, State
from eos.devstack import Stack
from eos.testing.faults import Fault, faulty
from eos.testing.proxy import ApiKey, KafkaProxy
from tests.integration.cluster import Cluster
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.lines import Running, step
from tests.integration.processes import quick

DISTINCT = 60
LOST = 3  # which commit


@pytest.fixture
def proxy(stack: Stack) -> Iterator[KafkaProxy]:
    with KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as opened:
        yield opened


@pytest.fixture
def settings(stack: Stack, redis_url: str, namespace: str) -> Settings:
    """A worker behind the proxy, calm enough to stay a member while a commit hangs."""
    kafka = {"session.timeout.ms": 30_000}
    return Settings(**quick(stack.proxied_servers, redis_url, namespace, kafka=kafka))


def around_the_commit(
    before: Callable[[], None], after: Callable[[], None]
) -> Callable[[Ports], None]:
    """Do something before and after one commit."""

    def wrap(ports: Ports) -> None:
        faults = [Fault("commit", "before", LOST, before), Fault("commit", "after", LOST, after)]
        ports.transactions = faulty(ports.transactions, *faults)

    return wrap


def test_a_commit_whose_answer_is_lost_once_is_asked_again_and_holds(
    proxy: KafkaProxy,
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
) -> None:
    inputs = with_copies(1, DISTINCT)
    cluster.send(source, inputs)
    wrap = around_the_commit(lambda: proxy.drop_responses(ApiKey.END_TXN), proxy.heal)

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    # librdkafka asks again by itself, and it may be that its first request comes late: its
    # producer is not trusted with another transaction.
    assert line.saw(ProducerRecreated)


@pytest.mark.parametrize("close", [True, False], ids=["connections close", "nothing comes"])
def test_a_commit_that_took_place_and_was_never_answered_is_found_out(
    proxy: KafkaProxy,
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    *,
    close: bool,
) -> None:
    inputs = with_copies(2, DISTINCT)
    cluster.send(source, inputs)
    wrap = around_the_commit(
        lambda: proxy.drop_responses(ApiKey.END_TXN, 1_000_000, close=close), proxy.heal
    )

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    assert [event.resolved for event in line.saw(Committed)].count(True) == 1
    assert line.saw(ProducerRecreated)


def test_a_commit_that_never_arrived_is_done_again(
    proxy: KafkaProxy,
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
) -> None:
    inputs = with_copies(3, DISTINCT)
    cluster.send(source, inputs)

    def lose() -> None:
        proxy.heal()
        proxy.close_connections()

    wrap = around_the_commit(lambda: proxy.delay_requests(ApiKey.END_TXN, 3600), lose)

    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert_exactly_once(inputs, read_committed(to))
    assert not any(event.resolved for event in line.saw(Committed))
    assert line.saw(ProducerRecreated)
    assert line.saw(Aborted)


@dataclass
class Stray:
    """A request to commit that comes late, when the next transaction is open.

    1. The worker asks to commit transaction 3; the request is held back on its way.
    2. The client gives up waiting, connects again and repeats it: transaction 3 is committed.
    3. The worker opens transaction 4, and has produced a part of it.
    4. The first request arrives. It names the same producer; if it also names the epoch of
       today's transaction, the broker commits that part, without its offsets.
    """

    proxy: KafkaProxy
    seconds: float = 4.0
    commits: int = 0
    arrives: float = math.inf
    produced: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def wrap(self, ports: Ports) -> None:
        faults = [
            Fault("commit", "before", LOST, self._hold_back),
            Fault("produce", "before", None, self._produce),
        ]
        ports.transactions = faulty(ports.transactions, *faults)

    def _hold_back(self) -> None:
        self.proxy.delay_requests(ApiKey.END_TXN, self.seconds, 1)
        self.arrives = time.monotonic() + self.seconds

    def _produce(self) -> None:
        if self.arrives < math.inf and not self.done.is_set():
            self.produced += 1
            if self.produced == 4:
                time.sleep(max(0.0, self.arrives + 1.0 - time.monotonic()))
                self.done.set()


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without supervisor"])
def test_a_stray_commit_request_cannot_hit_the_next_transaction(
    proxy: KafkaProxy,
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    broken: bool,
) -> None:
    if broken:
        for seen in set(Seen) - {Seen.CREATED, Seen.FENCED}:
            monkeypatch.setitem(TABLE[State.READY], seen, State.READY)
    inputs = with_copies(4, DISTINCT)
    cluster.send(source, inputs)
    stray = Stray(proxy)
    impatient = {**settings.kafka, "socket.timeout.ms": 1000}
    hasty = Settings(**quick(settings.brokers, settings.ledger, settings.group, kafka=impatient))

    with Running(hasty, [step(source, to)], stray.wrap):
        cluster.await_settled(settings.group, source)

    assert stray.done.is_set()
    if broken:
        with pytest.raises(AssertionError, match=r"twice=\{'id-"):
            assert_exactly_once(inputs, read_committed(to))
    else:
        assert_exactly_once(inputs, read_committed(to))
