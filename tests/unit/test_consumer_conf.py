"""What the configuration of a confluent-kafka consumer means to the drop-in."""

import logging
from typing import Any

import pytest

from eos.core.errors import ConfigError
from eos.doors.consumer.conf import Conf, check_made, read

CONF: dict[str, Any] = {"bootstrap.servers": "b:1", "group.id": "g"}


def of(producer: dict[str, Any] | None = None, **conf: Any) -> Conf:
    """Read a configuration; `_` in names stands for `.`."""
    named = {name.replace("_", "."): value for name, value in conf.items()}
    return read({**CONF, **named}, ledger="memory:", key=None, producer=producer, settings={})


def faults(conf: dict[str, Any], ledger: str = "memory:", **settings: Any) -> list[str]:
    """Give what is refused."""
    with pytest.raises(ConfigError) as refused:
        read(conf, ledger=ledger, key=None, producer=None, settings=settings)
    return list(refused.value.faults)


def test_what_is_left_out_is_as_in_confluent_kafka() -> None:
    conf = of()
    assert (conf.auto_commit, conf.auto_store, conf.interval) == (True, True, 5.0)
    assert conf.settings.kafka["auto.offset.reset"] == "latest"
    assert conf.settings.kafka["partition.assignment.strategy"] == "range,roundrobin"
    assert conf.producer is None


@pytest.mark.parametrize("off", [False, "false", "False", 0, "0"])
def test_automatics_are_off_however_that_is_written(off: object) -> None:
    conf = of(enable_auto_commit=off, enable_auto_offset_store=off)
    assert (conf.auto_commit, conf.auto_store) == (False, False)


@pytest.mark.parametrize("on", [True, "true", "True", 1, "1"])
def test_automatics_are_on_however_that_is_written(on: object) -> None:
    conf = of(enable_auto_commit=on, enable_auto_offset_store=on)
    assert (conf.auto_commit, conf.auto_store) == (True, True)


def test_an_interval_of_nothing_means_never() -> None:
    assert of(auto_commit_interval_ms=0).interval == float("inf")
    assert of(auto_commit_interval_ms="250").interval == 0.25


@pytest.mark.parametrize(
    ("old", "new"), [("smallest", "earliest"), ("largest", "latest"), ("beginning", "earliest")]
)
def test_old_names_of_the_first_offset_are_known(old: str, new: str) -> None:
    assert of(auto_offset_reset=old).settings.kafka["auto.offset.reset"] == new
    assert of(topic_auto_offset_reset=old).settings.kafka["auto.offset.reset"] == new


def test_callbacks_go_to_the_client_alone() -> None:
    def told(*_: object) -> None: ...

    log = logging.getLogger("mine")
    given = {"error_cb": told, "stats_cb": told, "on_commit": told, "logger": log}
    conf = read({**CONF, **given}, ledger="memory:", key=None, producer=None, settings={})
    assert conf.callbacks == given
    assert not given.keys() & conf.settings.kafka.keys()


def test_servers_share_their_sign_in() -> None:
    def token(_: str) -> tuple[str, float]:
        return "", 0.0

    conf = of(producer={}, security_protocol="SASL_SSL")
    assert conf.settings.kafka["security.protocol"] == "SASL_SSL"
    shared = read(
        {**CONF, "oauth_cb": token}, ledger="memory:", key=None, producer=None, settings={}
    )
    assert shared.settings.kafka["oauth_cb"] is token


def test_the_protocol_of_kip_848_is_given_no_strategy() -> None:
    assert "partition.assignment.strategy" not in of(group_protocol="consumer").settings.kafka


def test_a_producer_keeps_its_name_and_its_servers() -> None:
    conf = of(producer={"transactional.id": "mine", "bootstrap.servers": "c:2", "linger.ms": 1})
    assert conf.producer is not None
    settings, name = conf.producer
    assert (name, settings.brokers, settings.kafka["linger.ms"]) == ("mine", "c:2", 1)
    other = of(producer={}).producer
    assert other is not None
    assert (other[0].brokers, other[1]) == ("b:1", "g.local.0")


def test_every_fault_is_told_at_once() -> None:
    told = "\n".join(
        faults(
            {"bootstrap.servers": "nowhere", "isolation.level": "read_uncommitted"},
            ledger="http://x",
            in_dubt="skip",
            in_doubt="maybe",
        )
    )
    for word in ("group.id", "brokers", "isolation.level", "ledger", "in_dubt", "in_doubt"):
        assert word in told, told


def test_a_missing_address_is_told_when_the_consumer_is_made() -> None:
    assert "brokers" in faults({"group.id": "g"})[0]
    assert "ledger" in faults(CONF, ledger="")[0]


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"enable.auto.commit": False},
        {"enable.auto.offset.store": False},
        {"enable.auto.commit": "true", "enable.auto.offset.store": False},
        {
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_uncommitted",
        },
    ],
)
def test_a_finished_consumer_must_leave_the_offsets_alone(made: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check_made({**CONF, **made})


def test_a_finished_consumer_that_leaves_them_alone_is_taken() -> None:
    check_made({**CONF, "enable.auto.commit": False, "enable.auto.offset.store": "false"})
