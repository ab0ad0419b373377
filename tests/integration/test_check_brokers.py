"""`eos check` on real brokers: each fault is brought about, and named with what to do."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.kafka import config
from tests.integration.check_kit import Checked, check, only, write_app
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.lines import Running, step
from tests.integration.processes import quick

Run = Callable[..., Checked]
MINUTE_MS = 60_000


@pytest.fixture
def run(tmp_path: Path, bootstrap_servers: str, redis_url: str, namespace: str, to: str) -> Run:
    """Runs it on an app that reads a topic and publishes to `to`."""

    def run(source: str, **settings: Any) -> Checked:
        servers = {"brokers": bootstrap_servers, "ledger": redis_url}
        names = {"group": namespace, "source": source, "to": to}
        return check(tmp_path, write_app(tmp_path, **{**names, **servers, **settings}), "--json")

    return run


# --- what topics keep ---------------------------------------------------------------------


def test_a_source_that_keeps_less_than_the_window_is_a_fault_with_both_numbers(
    run: Run, topic: Callable[..., str]
) -> None:
    short = topic("orders", retention_ms=str(10 * MINUTE_MS))

    found = run(short, window="1h")
    fitting = run(short, window="5m")

    assert found.code == 1
    told = only(found.faults, f"topic {short}")
    assert "kept for 10 min, the window is 60 min" in told
    assert "set retention.ms to 3600000" in told
    assert (fitting.code, fitting.faults) == (0, [])


def test_dead_letters_that_go_before_the_window_are_a_warning_and_compacted_ones_a_fault(
    run: Run, source: str, cluster: Cluster, namespace: str
) -> None:
    letters = f"{namespace}.dead-letters"
    cluster.create_named(letters, retention_ms=str(MINUTE_MS))
    only(run(source).warnings, f"topic {letters}", "letters are gone before")

    cluster.create_named(f"{namespace}-2.dead-letters", cleanup_policy="compact")
    found = run(source, namespace=f"{namespace}-2")
    assert found.code == 1
    only(found.faults, "dead-letters", "replaces earlier ones", "cleanup.policy to delete")


def test_a_compacted_source_is_a_warning_that_says_what_may_happen(
    run: Run, topic: Callable[..., str]
) -> None:
    compacted = topic("orders", cleanup_policy="compact")

    found = run(compacted)

    assert found.code == 0
    only(found.warnings, f"topic {compacted}", "owners of idempotency keys", "cleanup.policy")


def test_a_limit_in_bytes_is_a_warning(run: Run, topic: Callable[..., str]) -> None:
    limited = topic("orders", retention_bytes="1000000")

    only(run(limited).warnings, f"topic {limited}", "retention.bytes is 1000000")


def test_a_target_that_takes_smaller_messages_than_we_send_is_a_warning(
    run: Run, source: str, topic: Callable[..., str]
) -> None:
    narrow = topic("receipts", max_message_bytes="1000")

    told = only(run(source, to=narrow).warnings, f"topic {narrow}")

    assert "up to 1000 bytes, our client sends up to 1000000" in told
    assert "message.max.bytes" in told


def test_more_copies_in_sync_than_there_are_is_a_fault(
    run: Run, topic: Callable[..., str], source: str
) -> None:
    strict = topic("receipts", min_insync_replicas="2")

    found = run(source, to=strict)

    assert found.code == 1
    only(found.faults, f"topic {strict}", "min.insync.replicas is 2", "nothing can be published")


@pytest.mark.parametrize(
    ("stamp", "told"),
    [
        (lambda: int(time.time() * 1000) + 30 * MINUTE_MS, "ahead of our clock"),
        (lambda: int(time.time()), "seconds for milliseconds?"),
    ],
)
def test_time_stamps_far_from_the_truth_are_a_warning(
    run: Run, source: str, bootstrap_servers: str, stamp: Callable[[], int], told: str
) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(source, b"x", partition=1, timestamp=stamp())
    assert producer.flush(SECONDS) == 0

    found = run(source)

    assert found.code == 0
    assert "[1]" in only(found.warnings, f"topic {source}", told)


# --- groups, offsets, transactions ----------------------------------------------------------


def test_offsets_outside_of_the_log_are_faults_that_say_what_was_lost(
    run: Run, source: str, cluster: Cluster, namespace: str, bootstrap_servers: str
) -> None:
    cluster.send(source, [Input(str(n), 0) for n in range(10)])
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    (gone,) = admin.delete_records([TopicPartition(source, 0, 8)]).values()
    gone.result(SECONDS)
    conf = {"bootstrap.servers": bootstrap_servers, "group.id": namespace}
    with closing(Consumer(conf)) as member:
        member.commit(
            offsets=[TopicPartition(source, 0, 5), TopicPartition(source, 1, 7)],
            asynchronous=False,
        )

    found = run(source)

    assert found.code == 1
    only(found.faults, f"{source}[0]: committed 5, the log begins at 8: 3 offsets were removed")
    only(found.faults, f"{source}[1]: committed 7, the log ends at 0")


def test_members_that_share_partitions_otherwise_are_a_fault(
    run: Run, source: str, namespace: str, bootstrap_servers: str
) -> None:
    conf = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": namespace,
        "partition.assignment.strategy": "range",
    }
    with closing(Consumer(conf)) as member:
        member.subscribe([source])
        assert wait_until(lambda: bool(member.poll(0.1) or member.assignment()), seconds=SECONDS)
        found = run(source)
        willing = run(source, kafka={"partition.assignment.strategy": "range"})

    assert found.code == 1
    only(found.faults, f"group {namespace}", "by range", "stop its members")
    only(found.fine, f"group {namespace}", "1 member, stable, range")
    assert (willing.code, willing.faults) == (0, [])


def test_members_of_the_other_protocol_are_a_warning(
    run: Run, source: str, namespace: str, bootstrap_servers: str
) -> None:
    servers = {"bootstrap.servers": bootstrap_servers}
    conf = {**servers, "group.id": namespace, "group.protocol": "consumer"}
    with closing(Consumer(conf)) as member:
        member.subscribe([source])
        assert wait_until(lambda: bool(member.poll(0.1) or member.assignment()), seconds=SECONDS)
        found = run(source)
        alike = run(source, kafka={"group.protocol": "consumer"})

    only(found.warnings, f"group {namespace}", "consumer protocol, ours would the classic one")
    assert not any("protocol" in line for line in alike.warnings)
    assert (alike.code, alike.faults) == (0, [])


def test_an_app_s_own_workers_are_fine(
    run: Run, source: str, to: str, namespace: str, bootstrap_servers: str, redis_url: str
) -> None:
    """Checked while they work, and again when they are gone."""
    settings = Settings(**quick(bootstrap_servers, redis_url, namespace))
    cluster = Cluster(bootstrap_servers)
    cluster.send(source, [Input(str(n), n % 2) for n in range(20)])
    with Running(settings, [step(source, to)]):
        cluster.await_settled(namespace, source)
        working = run(source, instance="other")
    gone = run(source, instance="other")

    assert (working.code, working.faults) == (0, [])
    only(working.fine, f"group {namespace}", "1 member, stable, cooperative-sticky")
    only(working.fine, f"offsets of {namespace}", "2 partitions, 0 offsets behind")
    only(working.fine, "keys", "of 1 of 1 topics, in layout")
    assert (gone.code, gone.faults) == (0, [])
    only(gone.fine, f"group {namespace}", "no members now")


def test_a_transaction_that_holds_up_readers_is_named_with_the_tool_that_ends_it(
    run: Run, source: str, bootstrap_servers: str, namespace: str
) -> None:
    """The record is older than a transaction of ours may be; its transaction is open still."""
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "transactional.id": f"{namespace}.other"}
    )
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    begun = int(time.time() * 1000) - 2 * MINUTE_MS
    producer.produce(source, b"x", partition=1, timestamp=begun)
    assert producer.flush(SECONDS) == 0

    found = run(source)
    producer.abort_transaction(SECONDS)
    after = run(source)

    told = only(found.warnings, f"topic {source}", "readers of [1] wait at 0")
    assert "kafka-transactions.sh" in told
    assert f"--topic {source} --partition 1" in told
    only(after.fine, "open transactions")


def test_a_group_whose_offsets_stand_in_an_open_transaction_is_named(
    run: Run, source: str, bootstrap_servers: str, namespace: str
) -> None:
    conf = {"bootstrap.servers": bootstrap_servers}
    producer = Producer(
        {**conf, "transactional.id": f"{namespace}.other", "transaction.timeout.ms": 120_000}
    )
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    with closing(Consumer({**conf, "group.id": namespace})) as member:
        place = [TopicPartition(source, 0, 0)]
        metadata = member.consumer_group_metadata()
        producer.send_offsets_to_transaction(place, metadata, SECONDS)

        found = run(source)
    producer.abort_transaction(SECONDS)

    only(found.warnings, f"{source}[0]", "stands in a transaction", "kafka-transactions.sh")


def test_a_worker_in_the_midst_of_a_transaction_is_not_disturbed(
    run: Run, source: str, to: str, bootstrap_servers: str, namespace: str, cluster: Cluster
) -> None:
    settings = Settings(group=namespace, brokers=bootstrap_servers)
    producer = Producer(config.producer(settings, settings.transactional_id(0)))
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(to, b"first")

    found = run(source, instance=settings.instance)

    only(found.fine, "transactional ids", settings.transactional_id(0))
    producer.commit_transaction(SECONDS)
    producer.begin_transaction()
    producer.produce(to, b"second")
    producer.commit_transaction(SECONDS)
    assert [message.value() for message in cluster.read_committed(to)] == [b"first", b"second"]

    # What this would have seen: whoever takes the id in the ordinary way.
    producer.begin_transaction()
    Producer(config.producer(settings, settings.transactional_id(0))).init_transactions(SECONDS)
    producer.produce(to, b"third")
    with pytest.raises(KafkaException):
        producer.commit_transaction(SECONDS)


# --- brokers --------------------------------------------------------------------------------


def test_a_session_that_the_brokers_refuse_is_a_fault(run: Run, source: str) -> None:
    found = run(source, kafka={"session.timeout.ms": 900, "heartbeat.interval.ms": 300})

    assert found.code == 1
    only(found.faults, "session.timeout.ms of workers is 900; the brokers take 1000 to 1800000")


def test_a_window_longer_than_offsets_are_kept_is_a_warning(
    run: Run, topic: Callable[..., str]
) -> None:
    long = topic("orders", retention_ms=str(40 * 24 * 60 * MINUTE_MS))

    found = run(long, window="30d")

    assert found.code == 0
    told = only(found.warnings, "committed offsets outlive their group by 7 days")
    assert "offsets.retention.minutes to 43200" in told


def test_one_broker_alone_is_a_warning(run: Run, source: str) -> None:
    only(run(source).warnings, "one broker", "run three")
