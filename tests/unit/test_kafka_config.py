from typing import Any

from eos.core.settings import Settings
from eos.kafka import config


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
