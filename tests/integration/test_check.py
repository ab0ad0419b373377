"""`eos check` as a user sees it: what is fine, what is missing, what cannot be checked at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eos.db import create, engine_of
from tests.integration.check_kit import Checked, check, only, write_app
from tests.integration.cluster import Cluster

Run = Callable[..., Checked]


@pytest.fixture
def run(
    tmp_path: Path, bootstrap_servers: str, redis_url: str, namespace: str, source: str, to: str
) -> Run:
    """Runs it on an app that reads `source` and publishes to `to`."""

    def run(*arguments: str, **settings: Any) -> Checked:
        servers = {"brokers": bootstrap_servers, "ledger": redis_url}
        names = {"group": namespace, "source": source, "to": to}
        target = write_app(tmp_path, **{**names, **servers, **settings})
        return check(tmp_path, target, *arguments)

    return run


def test_a_good_set_up_has_no_fault(run: Run, cluster: Cluster, namespace: str) -> None:
    cluster.create_named(f"{namespace}.dead-letters")
    cluster.create_named(f"{namespace}.suppressed")

    found = run("--json")

    assert (found.code, found.faults) == (0, [])
    # A test's cluster has one broker: nothing else is worth a warning.
    assert [line for line in found.warnings if "one broker" not in line] == []
    for section in ("settings", "brokers", "ledger"):
        assert any(row["section"] == section for row in found.rows)


def test_topics_that_are_missing_are_made_on_demand_and_the_next_run_is_clean(
    run: Run, namespace: str, cluster: Cluster
) -> None:
    names = {"source": f"{namespace}.in", "to": f"{namespace}.out"}

    before = run("--json", **names)
    made = run("--json", "--create", **names)
    after = run("--json", **names)

    assert before.code == 1
    assert "create it" in only(before.faults, f"{namespace}.in", "does not exist")
    assert "create it" in only(before.faults, f"{namespace}.out", "does not exist")
    assert "--create" in only(before.warnings, f"{namespace}.dead-letters", "does not exist")
    assert "--create" in only(before.warnings, f"{namespace}.suppressed", "does not exist")
    assert (made.code, made.faults) == (0, [])
    assert len([line for line in made.fine if "made, with" in line]) == 4
    assert (after.code, after.faults) == (0, [])
    assert not any("does not exist" in line or "made, with" in line for line in after.told("ok"))
    assert cluster.ends(f"{namespace}.in")
    only(after.fine, f"{namespace}.suppressed", "audit", "kept 8 days")  # the window and a week


def test_a_relay_needs_its_topic_and_its_tables(
    tmp_path: Path, bootstrap_servers: str, namespace: str, cluster: Cluster
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    options = ("--brokers", bootstrap_servers, "--outbox", url, "--namespace", namespace)

    before = check(tmp_path, "--json", *options)
    create(engine_of(url))
    after = check(tmp_path, "--json", "--create", *options)

    assert before.code == 1
    assert "eos db create" in only(before.faults, "there is no such file")
    assert (after.code, after.faults) == (0, [])
    assert len(cluster.ends(f"{namespace}.positions")) == 4
    only(after.fine, "transactional ids", f"{namespace}.relay.0")
    only(after.fine, f"group {namespace}.relay")


def test_a_loop_is_checked_by_what_options_and_environment_name(
    tmp_path: Path, bootstrap_servers: str, redis_url: str, namespace: str, source: str
) -> None:
    environment = {"EOS_BROKERS": bootstrap_servers, "EOS_LEDGER": redis_url, "EOS_SECRET": "s"}

    found = check(tmp_path, "--json", "--group", namespace, "--topic", source, **environment)

    assert (found.code, found.faults) == (0, [])
    only(found.fine, f"topic {source}", "2 partitions")
    only(found.fine, f"group {namespace}")
    only(found.fine, "secret")
    assert not any("transactional ids" in line for line in found.fine)


def test_without_a_secret_ids_can_be_forged_and_memory_is_for_tests(run: Run) -> None:
    found = run("--json", secret=None, ledger="memory:")

    assert found.code == 0
    assert "EOS_SECRET" in only(found.warnings, "secret", "forged")
    assert "redis://" in only(found.warnings, "memory:", "tests")


def test_all_wrong_settings_of_an_app_are_told_at_once(run: Run) -> None:
    found = run("--json", window="1s", retries=-1, kafka={"group.id": "mine"})

    assert found.code == 1
    assert len(found.faults) == 3
    only(found.faults, "window")
    only(found.faults, "retries")
    only(found.faults, "group.id")


def test_an_app_without_addresses_lacks_both_of_them(tmp_path: Path) -> None:
    found = check(tmp_path, write_app(tmp_path, group="g", source="in", to="out"), "--json")

    assert found.code == 1
    assert len(found.faults) == 2
    only(found.faults, "brokers", "set EOS_BROKERS")
    only(found.faults, "ledger", "set EOS_LEDGER")


def test_settings_that_the_client_does_not_take_are_told_by_name(run: Run) -> None:
    found = run("--json", kafka={"no.such.setting": 1, "linger.ms": "soon"})

    assert found.code == 1
    only(found.faults, "kafka settings", "no.such.setting")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere:app"], "no module 'nowhere'"),
        (["shop:nothing"], "no 'nothing'"),
        (["shop"], "module:app"),
        (["shop:handle"], "not an eos.App"),
        (["empty:app"], "has no steps"),
        (["broken:app"], "importing broken failed: ZeroDivisionError"),
        ([], "say what to check"),
        (["shop:app", "--brokers", "b:1"], "leave --brokers out"),
        (["--brokers", "b"], "host:port"),
        (["--ledger", "mysql://x"], "redis://"),
        (["--brokers", "b:1", "--topic", "t"], "give --group"),
        (["--brokers", "b:1", "--outbox", "sqlite:///x"], "give --namespace"),
        (["--brokers", "b:1", "--kafka", "nowhere.conf"], "cannot be read"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    write_app(tmp_path, group="g", source="in", to="out")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "empty.py").write_text("import eos\napp = eos.App(group='g')")

    found = check(tmp_path, *arguments)

    assert found.code == 2
    assert found.out == ""
    assert told in found.err
    assert "Traceback" not in found.err


def test_a_pipe_gets_plain_lines_and_a_sum(run: Run) -> None:
    found = run()

    assert found.code == 0
    assert "\x1b" not in found.out
    assert re.search(r"^  ok +brokers: 1 broker", found.out, re.MULTILINE)
    assert re.search(r"^no faults, 3 warnings in ", found.out, re.MULTILINE)


def test_json_is_one_document_with_a_count(run: Run) -> None:
    told = json.loads(run("--json").out)

    assert told["faults"] == 0
    assert told["warnings"] == sum(row["level"] == "warning" for row in told["rows"])
    assert set(told["rows"][0]) == {"section", "what", "level", "found", "advice"}
