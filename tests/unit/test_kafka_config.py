from typing import Any

import pytest

from eos.core.errors import ConfigError
from eos.core.settings import Settings
from eos.kafka import config
from eos.kafka.reader import KafkaReader


def settings(**kafka: Any) -> Settings:
    given = {name.replace("_", "."): value for name, value in kafka.items()}
    return Settings(group="g", brokers="a:1", ledger="memory:", kafka=given)


def test_each_client_gets_the_settings_that_it_knows() -> None:
    given = settings(linger_ms=50, fetch_min_bytes=7, client_id="me", compression_type="zstd")
    producer = config.producer(given, "id")
    consumer = config.consumer(given)
    admin = config.client(given)
    assert (producer["linger.ms"], producer["compression.type"]) == (50, "zstd")
    assert consumer["fetch.min.bytes"] == 7
    for conf, foreign in (
        (producer, "fetch.min.bytes"),
        (consumer, "linger.ms"),
        (consumer, "compression.type"),
        (admin, "linger.ms"),
        (admin, "fetch.min.bytes"),
    ):
        assert foreign not in conf
    assert producer["client.id"] == consumer["client.id"] == admin["client.id"] == "me"


def test_what_the_guarantees_rest_on_cannot_be_changed() -> None:
    given = settings(isolation_level="read_committed", auto_offset_reset="latest")
    consumer = config.consumer(given)
    assert consumer["enable.auto.commit"] is False
    assert consumer["enable.auto.offset.store"] is False
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["group.id"] == "g"
    producer = config.producer(given, "id")
    assert producer["transactional.id"] == "id"
    assert producer["message.timeout.ms"] <= producer["transaction.timeout.ms"]


def test_where_a_group_begins_is_the_user_s_choice_and_the_earliest_by_default() -> None:
    assert config.first_offset(settings()) == "earliest"
    assert config.first_offset(settings(auto_offset_reset="latest")) == "latest"


def test_the_size_of_a_message_is_the_client_s_own_limit() -> None:
    assert config.max_message_bytes(settings()) == 1_000_000
    assert config.max_message_bytes(settings(message_max_bytes="2000")) == 2000


def test_each_worker_is_a_static_member_of_its_own() -> None:
    given = settings(group_instance_id="till")
    assert config.consumer(given)["group.instance.id"] == "till.0"
    assert config.consumer(given, 3)["group.instance.id"] == "till.3"
    assert "group.instance.id" not in config.consumer(settings(), 3)
    assert "group.instance.id" not in config.producer(given, "id")


@pytest.mark.parametrize("protocol", ["consumer", "CONSUMER"])
def test_a_group_whose_servers_assign_is_sent_no_strategy(protocol: str) -> None:
    conf = config.consumer(settings(group_protocol=protocol))
    assert "partition.assignment.strategy" not in conf
    assert config.is_incremental(conf)


def test_what_such_a_group_refuses_is_refused_and_not_dropped_in_silence() -> None:
    given = settings(group_protocol="consumer", session_timeout_ms=6000)
    with pytest.raises(ConfigError, match=r"session\.timeout\.ms"):
        KafkaReader(config.consumer(given), "earliest")


@pytest.mark.parametrize(
    ("strategy", "incremental"),
    [("cooperative-sticky", True), ("range", False), ("roundrobin,range", False)],
)
def test_the_user_chooses_how_partitions_change_hands(strategy: str, incremental: bool) -> None:
    conf = config.consumer(settings(partition_assignment_strategy=strategy))
    assert conf["partition.assignment.strategy"] == strategy
    assert config.is_incremental(conf) is incremental


def test_partitions_change_hands_one_by_one_unless_the_user_says_otherwise() -> None:
    assert config.is_incremental(config.consumer(settings()))


def test_how_long_a_member_may_be_silent_is_the_user_s_choice_or_the_client_s_default() -> None:
    assert config.poll_interval(config.consumer(settings())) == 300
    assert config.poll_interval(config.consumer(settings(max_poll_interval_ms=6000))) == 6
