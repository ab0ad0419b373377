"""The examples of confluent-kafka's own documentation: one line changed, duplicates gone."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message

import eos
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.copies import assert_exactly_once, with_copies

DISTINCT = 40
Read = Callable[[str], list[Message]]


@pytest.fixture
def conf(bootstrap_servers: str, namespace: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap_servers,
        "group.id": namespace,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 6000,
    }


class Ended:
    """Tells the loop of an example, which runs for ever, when to end: all was seen."""

    def __init__(self, consumer: Any, wanted: int) -> None:
        self._consumer = consumer
        self._wanted = wanted
        self._quiet = 0

    def __call__(self, printed: list[str], message: object) -> bool:
        self._quiet = self._quiet + 1 if message is None else 0
        return len(set(printed)) == self._wanted and self._quiet > 1


def the_example(c: Any, topic: str, wanted: int) -> list[str]:
    """The basic consumer of the README, with a list in place of the screen."""
    printed: list[str] = []
    ended = Ended(c, wanted)

    c.subscribe([topic])

    while True:
        msg = c.poll(1.0)

        if ended(printed, msg):
            break
        if msg is None:
            continue
        if msg.error():
            raise KafkaException(msg.error())

        printed.append("Received message: {}".format(msg.value().decode("utf-8")))

    c.close()
    return [line.removeprefix("Received message: ") for line in printed]


def test_the_consumer_example_runs_with_one_changed_line_and_duplicates_are_gone(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    inputs = with_copies(1, DISTINCT)
    cluster.send(source, inputs)

    bare = the_example(Consumer({**conf, "group.id": "bare"}), source, DISTINCT)
    wrapped = the_example(eos.Consumer(conf, ledger=redis_url), source, DISTINCT)

    assert sorted(bare) == sorted(str(each.id) for each in inputs)
    assert sorted(wrapped) == sorted({str(each.id) for each in inputs})


def test_the_group_goes_on_where_the_example_ended(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    cluster.send(source, with_copies(2, DISTINCT))
    the_example(eos.Consumer(conf, ledger=redis_url), source, DISTINCT)
    cluster.send(source, [Input("late", 0)])
    assert the_example(eos.Consumer(conf, ledger=redis_url), source, 1) == ["late"]


MIN_COMMIT_COUNT = 7


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_synchronous_commits_example_settles_what_it_commits(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str, asynchronous: bool
) -> None:
    """From the developer guide: a batch is processed, then committed."""
    inputs = with_copies(3, DISTINCT)
    cluster.send(source, inputs)
    processed: list[str] = []
    committed: list[Any] = []

    def msg_process(msg: Any) -> None:
        processed.append(msg.value().decode())

    def commit_completed(err: object, _partitions: object) -> None:
        committed.append(err)

    def consume_loop(consumer: Any, topics: list[str]) -> None:
        ended = Ended(consumer, DISTINCT)
        try:
            consumer.subscribe(topics)
            msg_count = 0
            while True:
                msg = consumer.poll(timeout=1.0)
                if ended(processed, msg):
                    break
                if msg is None:
                    continue
                if msg.error():
                    raise KafkaException(msg.error())
                msg_process(msg)
                msg_count += 1
                if msg_count % MIN_COMMIT_COUNT == 0:
                    consumer.commit(asynchronous=asynchronous)
        finally:
            consumer.close()

    manual = {**conf, "enable.auto.commit": False, "on_commit": commit_completed}
    consume_loop(eos.Consumer(manual, ledger=redis_url), [source])

    assert sorted(processed) == sorted({str(each.id) for each in inputs})
    assert bool(committed) == asynchronous
    assert not any(committed)
    settled = sum(cluster.committed(conf["group.id"], source).values())
    assert settled >= DISTINCT - MIN_COMMIT_COUNT


def process_input(msg: Any) -> tuple[Any, str]:
    """From `eos_transactions.py`: what comes in is turned into what goes out."""
    return msg.key(), json.dumps({"seen": msg.value().decode()})


def the_transactional_example(c: Any, source: str, to: str, wanted: int) -> None:
    """`examples/eos_transactions.py`, with the producer's calls left to the consumer."""
    c.subscribe([source])
    msg_cnt = 0
    seen: list[str] = []
    ended = Ended(c, wanted)
    while True:
        msg = c.poll(timeout=1.0)
        if ended(seen, msg):
            break
        if msg is None:
            continue
        if msg.error():
            raise KafkaException(msg.error())
        processed_key, processed_value = process_input(msg)
        c.produce(to, processed_value, processed_key)
        seen.append(msg.value().decode())
        msg_cnt += 1
        if msg_cnt % 5 == 0:
            c.commit(asynchronous=False)
    c.commit(asynchronous=False)
    c.close()


def test_the_transactional_example_publishes_each_record_once(
    cluster: Cluster,
    source: str,
    to: str,
    conf: dict[str, Any],
    redis_url: str,
    read_committed: Read,
) -> None:
    inputs = with_copies(4, DISTINCT)
    cluster.send(source, inputs)
    pconf = {
        "bootstrap.servers": conf["bootstrap.servers"],
        "transactional.id": f"{conf['group.id']}-eos",
    }
    manual = {**conf, "enable.auto.commit": False}

    consumer = eos.Consumer(manual, ledger=redis_url, producer=pconf)
    the_transactional_example(consumer, source, to, DISTINCT)

    outputs = read_committed(to)
    seen = [json.loads(value)["seen"] for value in ids(outputs)]
    assert sorted(seen) == sorted({str(each.id) for each in inputs})
    names = [dict(m.headers() or []).get("message-id") for m in outputs]
    assert None not in names
    assert len(set(names)) == len(names)
    ends = {p: n for p, n in cluster.ends(source).items() if n}
    assert cluster.committed(conf["group.id"], source) == ends


def test_iteration_gives_records_until_the_consumer_is_closed(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    inputs = with_copies(5, DISTINCT)
    cluster.send(source, inputs)
    found = []
    with eos.Consumer(conf, ledger=redis_url) as consumer:
        consumer.subscribe([source])
        for message in consumer:
            found.append(message)
            if len(found) == DISTINCT:
                consumer.close()
    assert sorted(ids(found)) == sorted({str(each.id) for each in inputs})


def test_two_threads_with_a_consumer_each_share_the_work(
    cluster: Cluster, source: str, conf: dict[str, Any], redis_url: str
) -> None:
    inputs = with_copies(6, DISTINCT)
    handled: list[str] = []
    over = threading.Event()

    def loop() -> None:
        consumer = eos.Consumer(conf, ledger=redis_url)
        consumer.subscribe([source])
        while not over.is_set():
            if (message := consumer.poll(0.1)) is not None:
                handled.append(message.value().decode())
        consumer.close()

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        cluster.send(source, inputs)
        cluster.await_settled(conf["group.id"], source)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    counts = {one: handled.count(one) for one in handled}
    assert set(counts) == {str(each.id) for each in inputs}


def test_exactly_once_needs_no_name_for_the_producer(
    cluster: Cluster,
    source: str,
    to: str,
    conf: dict[str, Any],
    redis_url: str,
    read_committed: Read,
) -> None:
    inputs = with_copies(7, DISTINCT)
    cluster.send(source, inputs)
    consumer = eos.Consumer(conf, ledger=redis_url, producer={})
    consumer.subscribe([source])
    seen = 0
    while seen < DISTINCT:
        for message in consumer.consume(7, 1.0):
            consumer.produce(to, message.value(), source=message)
            seen += 1
        consumer.commit(asynchronous=False)
    consumer.close()
    assert_exactly_once(inputs, read_committed(to))
