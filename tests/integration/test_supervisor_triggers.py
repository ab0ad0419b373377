"""What makes the supervisor replace a producer, brought about on a real broker."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import Message, Producer

from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Event, ProducerRecreated
from eos.core.frontier import Frontier
from eos.core.settings import Settings
from eos.core.supervisor import TABLE, Seen, State
from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from eos.kafka import config, signs
from eos.kafka.reader import KafkaReader
from eos.kafka.transactions import KafkaTransactions
from eos.testing.proxy import ApiKey, KafkaProxy
from tests.integration.cluster import SECONDS, ids
from tests.integration.members import join

LATE = 3.0
"""How late a request comes: later than the client waits, sooner than a transaction expires."""
IMPATIENT = {"socket.timeout.ms": 1000}


@pytest.fixture
def proxy(stack: Stack) -> Iterator[KafkaProxy]:
    with KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as opened:
        yield opened


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders")


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("receipts", partitions=3)


@pytest.fixture
def made(
    stack: Stack, proxy: KafkaProxy, namespace: str, events: list[Event]
) -> Iterator[KafkaTransactions]:
    """Transactions through the proxy, with a client that does not wait for long."""
    settings = Settings(
        group=namespace, brokers=stack.proxied_servers, ledger="memory:", kafka=IMPATIENT
    )
    transactions = KafkaTransactions(
        config.producer(settings, settings.transactional_id(0)), events.append
    )

    def ready() -> bool:
        with suppress(RetriableError):  # brokers that have just started take their time
            transactions.prepare()
            return True
        return False

    assert wait_until(ready, seconds=SECONDS)
    events.clear()
    yield transactions
    proxy.heal()
    transactions.close()


@pytest.fixture
def reader(bootstrap_servers: str, namespace: str, source: str) -> Iterator[KafkaReader]:
    """A member of the group, not behind the proxy."""
    settings = Settings(group=namespace, brokers=bootstrap_servers, ledger="memory:")
    member = KafkaReader(config.consumer(settings), "earliest")
    join(member, source)
    yield member
    member.close()


def without(monkeypatch: pytest.MonkeyPatch, *seen: Seen) -> None:
    """Make a supervisor that does not care for these signs."""
    for each in seen:
        monkeypatch.setitem(TABLE[State.READY], each, State.READY)


def send(made: KafkaTransactions, to: str, *values: str) -> None:
    for value in values:
        made.produce(to, value.encode(), None, [])


def whole(made: KafkaTransactions, to: str, *values: str) -> None:
    """Go through one transaction."""
    made.begin()
    send(made, to, *values)
    assert made.commit()


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, ProducerRecreated)]


def test_a_calm_producer_is_kept(
    made: KafkaTransactions, to: str, events: list[Event], read_committed: Callable[..., Any]
) -> None:
    until = time.monotonic() + 3 * signs.INTERVAL_MS / 1000  # several looks at its statistics
    count = 0
    while time.monotonic() < until:
        whole(made, to, f"id-{count}")
        count += 1
    assert events == []
    assert len(read_committed(to)) == count


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without supervisor"])
def test_a_stray_request_to_send_offsets_cannot_hit_the_next_transaction(
    made: KafkaTransactions,
    proxy: KafkaProxy,
    reader: KafkaReader,
    source: str,
    to: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    broken: bool,
) -> None:
    # 1. Offset 10 is sent, and held back on its way; the client repeats it, and commits.
    # 2. The next transaction sends offset 20.
    # 3. The first request arrives, and turns what is pending back to 10.
    if broken:
        without(monkeypatch, *Seen)
    member = reader.group_metadata()
    made.prepare()
    proxy.delay_requests(ApiKey.TXN_OFFSET_COMMIT, LATE, 1)
    arrives = time.monotonic() + LATE
    made.begin()
    send(made, to, "one")
    made.send_offsets({(source, 0): Frontier(10)}, member)
    assert made.commit()
    made.begin()
    send(made, to, "two")
    made.send_offsets({(source, 0): Frontier(20)}, member)
    time.sleep(max(0.0, arrives + 1.0 - time.monotonic()))
    assert made.commit()
    assert reader.frontiers([(source, 0)]) == {(source, 0): Frontier(10 if broken else 20)}


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without supervisor"])
def test_a_stray_request_to_abort_cannot_hit_the_next_transaction(
    made: KafkaTransactions,
    proxy: KafkaProxy,
    to: str,
    monkeypatch: pytest.MonkeyPatch,
    read_committed: Callable[[str], list[Message]],
    *,
    broken: bool,
) -> None:
    if broken:
        without(monkeypatch, *Seen)
    made.begin()
    send(made, to, "aborted")
    proxy.delay_requests(ApiKey.END_TXN, LATE, 1)
    arrives = time.monotonic() + LATE
    made.abort()
    made.begin()
    send(made, to, "two")
    time.sleep(max(0.0, arrives + 1.0 - time.monotonic()))
    if broken:
        with pytest.raises(AbortableError):
            made.commit()
        made.abort()
        return
    assert made.commit()
    assert ids(read_committed(to)) == ["two"]


def test_a_request_that_was_sent_again_shows_in_the_statistics_alone(
    made: KafkaTransactions,
    proxy: KafkaProxy,
    to: str,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, Seen.DISCONNECTED, Seen.SLOW, Seen.INDEFINITE)
    whole(made, to, "one")
    proxy.delay_requests(ApiKey.END_TXN, LATE, 1)
    whole(made, to, "two")

    def replaced() -> bool:
        made.begin()
        made.abort()
        return bool(events)

    assert wait_until(replaced, seconds=SECONDS)
    assert reasons(events) == [Seen.COUNTED.value]


def test_a_connection_that_broke_between_two_transactions_costs_one_producer(
    made: KafkaTransactions, proxy: KafkaProxy, to: str, events: list[Event]
) -> None:
    whole(made, to, "one")
    proxy.close_connections()

    def replaced() -> bool:
        made.begin()
        made.abort()
        return bool(events)

    assert wait_until(replaced, seconds=SECONDS)
    until = time.monotonic() + 2 * signs.INTERVAL_MS / 1000
    while time.monotonic() < until:
        whole(made, to, "more")
    # Its log told before its statistics did; a client that is new has counted nothing.
    assert reasons(events) == [Seen.DISCONNECTED.value]


def test_an_abort_right_after_a_first_message_costs_no_producer(
    made: KafkaTransactions,
    to: str,
    events: list[Event],
    read_committed: Callable[[str], list[Message]],
) -> None:
    for n in range(100):
        made.begin()
        send(made, to, *(f"aborted-{n}-{k}" for k in range(1 + n % 7)))
        made.abort()
    whole(made, to, "last")
    assert events == []
    assert ids(read_committed(to)) == ["last"]


def test_an_abort_before_the_coordinator_can_know_of_the_transaction_hurts_nobody(
    made: KafkaTransactions,
    proxy: KafkaProxy,
    to: str,
    events: list[Event],
    read_committed: Callable[[str], list[Message]],
) -> None:
    for n, seconds in enumerate([0.3, 0.9, 2.5]):
        made.prepare()
        proxy.delay_requests(ApiKey.ADD_PARTITIONS_TO_TXN, seconds, 1)
        made.begin()
        send(made, to, f"aborted-{n}")
        made.abort()
        proxy.heal()
        whole(made, to, f"kept-{n}")
    print(reasons(events))  # noqa: T201 pytest shows it for a test that failed
    assert sorted(ids(read_committed(to))) == ["kept-0", "kept-1", "kept-2"]


UNDELIVERABLE: dict[str, Callable[[str], tuple[str, bytes]]] = {
    "too large": lambda to: (to, b"x" * 2_000_000),
    "no such topic": lambda _: ("no-such-topic", b"x"),
}


@pytest.mark.parametrize("kind", UNDELIVERABLE)
def test_a_message_that_is_not_delivered_takes_the_whole_transaction_with_it_and_nothing_else(
    made: KafkaTransactions,
    to: str,
    events: list[Event],
    read_committed: Callable[[str], list[Message]],
    kind: str,
) -> None:
    where, value = UNDELIVERABLE[kind](to)
    for n in range(2):
        made.begin()
        send(made, to, f"aborted-{n}")
        with pytest.raises(AbortableError):  # where it is noticed is the client's affair
            produce_and_commit(made, where, value)
        made.abort()
        whole(made, to, f"kept-{n}")
    assert sorted(ids(read_committed(to))) == ["kept-0", "kept-1"]
    assert len(reasons(events)) <= 2


def produce_and_commit(made: KafkaTransactions, where: str, value: bytes) -> None:
    made.produce(where, value, None, [])
    made.commit()


def test_a_message_that_comes_after_its_time_is_in_no_transaction(
    made: KafkaTransactions,
    proxy: KafkaProxy,
    to: str,
    read_committed: Callable[[str], list[Message]],
) -> None:
    made.prepare()
    proxy.delay_requests(ApiKey.PRODUCE, LATE, 1)
    made.begin()
    send(made, to, "held back")
    made.abort()
    whole(made, to, "kept")
    time.sleep(LATE)
    assert ids(read_committed(to)) == ["kept"]


def test_a_send_queue_that_is_full_is_waited_for_and_nothing_is_left_out(
    stack: Stack,
    proxy: KafkaProxy,
    namespace: str,
    to: str,
    events: list[Event],
    read_committed: Callable[[str], list[Message]],
) -> None:
    assert proxy
    small = {"queue.buffering.max.messages": 10}
    settings = Settings(
        group=namespace, brokers=stack.bootstrap_servers, ledger="memory:", kafka=small
    )
    made = KafkaTransactions(config.producer(settings, "it.0"), events.append)
    whole(made, to, *(f"id-{n}" for n in range(200)))
    made.close()
    assert len(read_committed(to)) == 200
    assert events == []


def test_a_producer_that_was_fenced_is_dead_and_says_by_whom(
    made: KafkaTransactions, stack: Stack, namespace: str, to: str
) -> None:
    made.begin()
    send(made, to, "one")
    twin = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "transactional.id": f"{namespace}.local.0"}
    )
    twin.init_transactions(SECONDS)
    with pytest.raises(Exception, match=f"'{namespace}.local.0'"):
        made.commit()
    with pytest.raises(Exception, match="EOS_INSTANCE"):
        made.begin()
