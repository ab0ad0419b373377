"""`eos.App`: its settings, and what a step is told."""

import json
from typing import Any

import pytest

import eos
from eos.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EOS_BROKERS", "EOS_LEDGER", "EOS_RETRIES", "EOS_INSTANCE", "EOS_KAFKA"):
        monkeypatch.delenv(name, raising=False)


def app_faults(**settings: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        eos.App(**{"group": "g", **settings})
    return list(caught.value.faults)


def test_an_unknown_setting_is_named_beside_the_other_faults() -> None:
    found = app_faults(brokers="x", ledger="memory:", retrys=3, retries=-1)
    assert any(fault.startswith("retrys") for fault in found)
    assert any(fault.startswith("retries=-1") for fault in found)
    assert any(fault.startswith("brokers") for fault in found)


def test_what_is_not_given_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EOS_BROKERS", "env:9092")
    monkeypatch.setenv("EOS_LEDGER", "memory:")
    monkeypatch.setenv("EOS_RETRIES", "7")
    monkeypatch.setenv("EOS_INSTANCE", "blue")
    settings = eos.App(group="g").settings
    assert (settings.brokers, settings.retries) == ("env:9092", 7)
    assert settings.transactional_id(0) == "g.blue.0"
    assert eos.App(group="g", brokers="given:1").settings.brokers == "given:1"


def test_a_wrong_number_in_the_environment_is_told_with_the_other_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EOS_RETRIES", "many")
    found = app_faults(brokers="x", ledger="memory:")
    assert any("EOS_RETRIES" in fault for fault in found)
    assert any(fault.startswith("brokers") for fault in found)


def test_an_app_can_be_imported_without_servers_and_does_not_start_without_them() -> None:
    app = eos.App(group="g")
    app.step("orders")(lambda _record: None)
    assert [step.source for step in app.steps] == ["orders"]
    with pytest.raises(ConfigError, match="EOS_BROKERS"):
        app.work()


def test_an_app_without_steps_does_not_start() -> None:
    with pytest.raises(ConfigError, match="no steps"):
        eos.App(group="g", brokers="a:1", ledger="memory:").work()


def test_a_topic_has_one_step() -> None:
    app = eos.App(group="g", brokers="a:1", ledger="memory:")
    app.step("orders")(lambda _record: None)
    with pytest.raises(ConfigError, match="has a step already"):
        app.step("orders")(lambda _record: None)


# --- steps ---------------------------------------------------------------------------------


def app() -> eos.App:
    return eos.App(group="g", brokers="a:1", ledger="memory:")


def test_a_step_is_told_all_that_its_handler_needs() -> None:
    made = app()

    class OutOfInkError(Exception):
        pass

    @made.step(
        "orders",
        to="receipts",
        batch=True,
        decode=json.loads,
        encode=json.dumps,
        retry_on=[ConnectionError],
        fatal=(OutOfInkError,),
    )
    def charge(_orders: list[eos.Record]) -> list[None]:
        return []

    (step,) = made.steps
    assert (step.source, step.to, step.batch, step.name) == ("orders", "receipts", True, "charge")
    assert (step.decode, step.encode) == (json.loads, json.dumps)
    assert step.retry_on == (ConnectionError,)
    assert step.fatal == (eos.FatalError, OutOfInkError)
    assert step.handler is charge


def test_a_step_needs_no_more_than_a_topic() -> None:
    made = app()
    made.step("orders")(lambda _record: None)
    (step,) = made.steps
    assert (step.to, step.retry_on, step.fatal) == (None, None, (eos.FatalError,))
    assert (step.decode, step.encode) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"decode": "json"},
        {"encode": 5},
        {"retry_on": ConnectionError},
        {"retry_on": (ConnectionError, "timeout")},
        {"retry_on": (KeyboardInterrupt,)},
        {"fatal": (5,)},
        {"fatal": ValueError},
    ],
    ids=str,
)
def test_what_a_step_cannot_use_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"step for 'orders': {name}="):
        app().step("orders", **wrong)


def test_all_faults_of_a_step_are_told_at_once() -> None:
    wrong: Any = {"decode": 1, "encode": 2, "fatal": 3}
    with pytest.raises(ConfigError) as caught:
        app().step("orders", **wrong)
    assert len(caught.value.faults) == 3


# --- relays --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"poll": "soon"}, "poll"),
        ({"poll": "0s"}, "poll='0s': give at least 0.01 seconds"),
        ({"poll": float("nan")}, "poll"),
        ({"poll": None}, "poll"),
        ({"keep": "-1s"}, "keep"),
        ({"keep": "for ever"}, "keep"),
        ({"keep": float("inf")}, "keep"),
    ],
    ids=str,
)
def test_what_a_relay_cannot_use_is_named(wrong: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        app().relay("sqlite:///x", **wrong)


def test_all_faults_of_a_relay_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        app().relay("sqlite:///x", poll="soon", keep="-1s")
    assert len(caught.value.faults) == 2


def test_an_app_relays_one_outbox_of_a_database_that_is_known() -> None:
    made = app()
    with pytest.raises(ConfigError, match="no database that eos knows"):
        made.relay("mysql://host/name")
    made.relay(eos.Outbox("sqlite:///x"))
    with pytest.raises(ConfigError, match="relays one outbox"):
        made.relay("sqlite:///y")
