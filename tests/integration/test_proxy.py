"""The fault proxy in front of a real broker."""

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from eos.devstack import Stack, running
from eos.devstack.waiting import wait_until
from eos.testing.proxy import ApiKey, KafkaProxy

SECONDS = 30


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)  # the proxy needs our own broker
        with running(redis=False) as opened:
            yield opened


@pytest.fixture
def proxy(stack: Stack) -> Iterator[KafkaProxy]:
    with KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as opened:
        yield opened


@pytest.fixture
def topic(stack: Stack) -> str:
    name = f"t-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(SECONDS)
    return name


def transactional(stack: Stack, **settings: str | int) -> Producer:
    """A producer behind the proxy, ready for its first transaction."""
    producer = Producer(
        {
            "bootstrap.servers": stack.proxied_servers,
            "transactional.id": uuid4().hex,
            "socket.timeout.ms": 1000,
            "log_level": 0,
        }
        | {name.replace("_", "."): value for name, value in settings.items()}
    )
    producer.init_transactions(SECONDS)
    return producer


def committed(stack: Stack, topic: str, count: int) -> list[bytes | None]:
    """Read committed records, around the proxy, until `count` are there."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.bootstrap_servers,
            "group.id": uuid4().hex,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    records: list[Message] = []

    def read() -> bool:
        records.extend(each for each in consumer.consume(count, 0.1) if not each.error())
        return len(records) >= count

    wait_until(read, seconds=SECONDS)
    consumer.close()
    return [record.value() for record in records]


def test_all_of_a_client_s_requests_go_through_and_are_counted(
    stack: Stack, proxy: KafkaProxy, topic: str
) -> None:
    producer = transactional(stack)
    for value in (b"a", b"b"):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.commit_transaction()

    assert committed(stack, topic, 2) == [b"a", b"b"]
    assert proxy.count(ApiKey.INIT_PRODUCER_ID) >= 1
    assert proxy.count(ApiKey.ADD_PARTITIONS_TO_TXN) >= 2
    assert proxy.count(ApiKey.PRODUCE) >= 2
    assert proxy.count(ApiKey.END_TXN) >= 2
    assert proxy.count(ApiKey.JOIN_GROUP) == 0


@pytest.mark.parametrize("close", [True, False])
def test_a_commit_whose_answer_is_dropped_is_sent_again_and_counts_once(
    stack: Stack, proxy: KafkaProxy, topic: str, *, close: bool
) -> None:
    producer = transactional(stack)
    proxy.drop_responses(ApiKey.END_TXN, close=close)
    producer.begin_transaction()
    producer.produce(topic, b"once")

    producer.commit_transaction(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"next")
    producer.commit_transaction(SECONDS)

    assert proxy.count(ApiKey.END_TXN) == 3
    assert committed(stack, topic, 2) == [b"once", b"next"]


def test_while_every_answer_is_dropped_a_commit_stays_unknown_though_it_happened(
    stack: Stack, proxy: KafkaProxy, topic: str
) -> None:
    producer = transactional(stack)
    proxy.drop_responses(ApiKey.END_TXN, count=1000)
    producer.begin_transaction()
    producer.produce(topic, b"done")

    with pytest.raises(KafkaException) as raised:
        producer.commit_transaction(2)

    assert raised.value.args[0].retriable()
    assert committed(stack, topic, 1) == [b"done"]
    proxy.heal()
    producer.commit_transaction(SECONDS)


def test_a_delayed_request_arrives_late_even_when_its_client_gave_up(
    stack: Stack, proxy: KafkaProxy, topic: str
) -> None:
    producer = Producer(
        {
            "bootstrap.servers": stack.proxied_servers,
            "request.timeout.ms": 1000,
            "message.timeout.ms": 1000,
            "retries": 0,
            "log_level": 0,
        }
    )
    producer.list_topics(topic, timeout=SECONDS)
    proxy.delay_requests(ApiKey.PRODUCE, 3, count=1)
    failures: list[object] = []
    producer.produce(topic, b"late", on_delivery=lambda error, _: failures.append(error))

    assert producer.flush(SECONDS) == 0

    assert len(failures) == 1
    assert failures[0] is not None
    assert committed(stack, topic, 1) == [b"late"]


def test_a_delay_keeps_the_order_of_a_connection(
    stack: Stack, proxy: KafkaProxy, topic: str
) -> None:
    producer = transactional(stack, socket_timeout_ms=10_000)
    proxy.delay_requests(ApiKey.PRODUCE, 0.5, count=2)
    began = time.monotonic()
    producer.begin_transaction()
    for value in (b"1", b"2", b"3"):
        producer.produce(topic, value)
        producer.flush(0)
    producer.commit_transaction(SECONDS)

    assert time.monotonic() - began >= 0.5
    assert committed(stack, topic, 3) == [b"1", b"2", b"3"]


def test_a_function_is_called_before_its_request_goes_on(
    stack: Stack, proxy: KafkaProxy, topic: str
) -> None:
    producer = transactional(stack, socket_timeout_ms=10_000)
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        go_on.wait(SECONDS)

    proxy.on_request(ApiKey.END_TXN, hold)
    producer.begin_transaction()
    producer.produce(topic, b"held")
    committing = threading.Thread(target=producer.commit_transaction, args=(SECONDS,))
    committing.start()
    assert reached.wait(SECONDS)
    last_stable = Consumer(
        {
            "bootstrap.servers": stack.bootstrap_servers,
            "group.id": "any",
            "isolation.level": "read_committed",
        }
    )
    assert last_stable.get_watermark_offsets(TopicPartition(topic, 0), SECONDS) == (0, 0)

    go_on.set()
    committing.join()

    assert committed(stack, topic, 1) == [b"held"]
    last_stable.close()


def test_a_client_survives_its_connections(stack: Stack, proxy: KafkaProxy, topic: str) -> None:
    producer = transactional(stack)
    producer.begin_transaction()
    producer.produce(topic, b"a")
    assert producer.flush(SECONDS) == 0

    proxy.close_connections()
    producer.produce(topic, b"b")
    producer.commit_transaction(SECONDS)

    assert committed(stack, topic, 2) == [b"a", b"b"]


def test_a_closed_proxy_leaves_no_thread_and_its_port_is_free_again(stack: Stack) -> None:
    ports = (stack.proxy_ports[0], stack.broker_proxied_ports[0])
    before = threading.active_count()
    for _ in range(2):
        with KafkaProxy(*ports):
            admin = AdminClient({"bootstrap.servers": stack.proxied_servers})
            assert admin.list_topics(timeout=SECONDS).brokers
            del admin

    assert wait_until(lambda: threading.active_count() <= before, seconds=SECONDS)
