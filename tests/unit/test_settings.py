import math
from typing import Any

import pytest

from eos.core.errors import ConfigError
from eos.core.settings import Settings, duration

GOOD: dict[str, Any] = {"group": "g", "brokers": "localhost:9092", "ledger": "memory:"}


def faults(**settings: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Settings(**{**GOOD, **settings})
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1.5s", 1.5), ("10m", 600), ("24h", 86400), ("7d", 604800), (" 2 s ", 2)],
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)
    assert duration(seconds) == seconds


@pytest.mark.parametrize("text", ["", "20", "-1s", "1 week", "1e3s", "ms", "1s2s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration(text)


def test_three_settings_are_enough() -> None:
    settings = Settings(**GOOD)
    assert settings.namespace == "g"
    assert settings.window_seconds == 86400
    assert settings.dead_letters == "g.dead-letters"
    assert settings.transactional_id(3) == "g.local.3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", ""),
        ("group", "with blanks"),
        ("group", "x" * 101),
        ("namespace", "a/b"),
        ("instance", ""),
        ("brokers", "localhost"),
        ("brokers", "a:1,b"),
        ("ledger", "postgres://x"),
        ("missing_key", "drop"),
        ("conflict", "drop"),
        ("scope", "galaxy"),
        ("ledger_down", "ignore"),
        ("in_doubt", "drop"),
        ("key", "order-id"),
        ("window", "1s"),
        ("window", "soon"),
        ("window", -1),
        ("window", math.nan),
        ("backoff", "fast"),
        ("batch_wait", -0.1),
        ("commit_interval", "x"),
        ("batch_records", 0),
        ("batch_records", 10_001),
        ("retries", -1),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    assert faults(**{name: value})[0].startswith(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", None),
        ("brokers", 5),
        ("brokers", ["a:1"]),
        ("ledger", None),
        ("retries", "3"),
        ("retries", True),
        ("batch_records", None),
        ("batch_records", 2.5),
        ("window", None),
        ("kafka", None),
        ("kafka", [("a", 1)]),
        ("secret", b"bytes"),
    ],
)
def test_a_value_of_another_type_is_named_and_nothing_else_is_raised(name: str, value: Any) -> None:
    assert any(fault.startswith(name) for fault in faults(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group.id", "x"),
        ("bootstrap.servers", "x"),
        ("transactional.id", "x"),
        ("enable.auto.offset.store", True),
        ("transaction.timeout.ms", 1),
        ("message.timeout.ms", 1),
        ("enable.auto.commit", True),
        ("enable.auto.commit", "true"),
        ("isolation.level", "read_uncommitted"),
        ("enable.idempotence", False),
        ("enable.idempotence", "false"),
        ("acks", 1),
        ("acks", "0"),
        ("acks", 0),
    ],
)
def test_an_unsafe_kafka_setting_is_refused_and_not_mended_in_silence(
    name: str, value: Any
) -> None:
    (fault,) = faults(kafka={name: value})
    assert name in fault


def test_harmless_kafka_settings_pass_whatever_their_type() -> None:
    given = {"acks": "all", "session.timeout.ms": 6000, "isolation.level": "read_committed"}
    assert Settings(**GOOD, kafka={**given, "x": []}).kafka["acks"] == "all"


def test_all_faults_are_told_at_once() -> None:
    found = faults(
        group="", brokers="x", ledger="x", conflict="drop", retries=-1, kafka={"acks": 0}
    )
    for name in ("group", "brokers", "ledger", "conflict", "retries", "acks"):
        assert any(name in fault for fault in found), name


def test_faults_of_type_and_of_value_are_told_together() -> None:
    found = faults(group=5, ledger="x", retries=-1)
    for name in ("group", "ledger", "retries"):
        assert any(fault.startswith(name) for fault in found), name


def test_an_address_may_be_missing_until_a_server_is_needed() -> None:
    settings = Settings(group="g")
    with pytest.raises(ConfigError) as caught:
        settings.check_servers("ledger")
    brokers, ledger = caught.value.faults
    assert brokers.startswith("brokers=''")
    assert "EOS_BROKERS" in brokers
    assert ledger.startswith("ledger=''")
    assert "EOS_LEDGER" in ledger
    Settings(**GOOD).check_servers("ledger")


def test_a_wrong_address_is_named_without_the_password_that_it_may_hold() -> None:
    (fault,) = faults(ledger="postgres://me:secret@host/db")
    assert "postgres" in fault
    assert "secret" not in fault


def test_a_policy_that_asks_a_function_needs_one() -> None:
    (fault,) = faults(in_doubt="reconcile")
    assert fault.startswith("reconcile=None")
    assert Settings(**GOOD, in_doubt="reconcile", reconcile=lambda _: True).reconcile
