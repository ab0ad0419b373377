"""The rules and alerts for Prometheus, tried by the real promtool."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import BOARDS
from eos.observe.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOK = ROOT / "docs" / "how-to" / "alerts.md"
SUFFIXES = ("", "_bucket", "_sum", "_count")


def rules(name: str, folder: Path = FOLDER) -> list[dict[str, Any]]:
    read = yaml.safe_load((folder / f"{name}.yaml").read_text())
    found: list[dict[str, Any]] = [rule for group in read["groups"] for rule in group["rules"]]
    return found


ALERTS = [alert["alert"] for alert in rules("alerts")]


def promtool(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def tried(folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return promtool("test", "rules", "tests/rules.yaml", "tests/alerts.yaml", folder=folder)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """Give a copy of the rules that a test may wound."""
    return Path(shutil.copytree(FOLDER, tmp_path / "prometheus"))


def write(alerts: list[dict[str, Any]], folder: Path) -> None:
    told = yaml.safe_dump({"groups": [{"name": "eos", "rules": alerts}]})
    (folder / "alerts.yaml").write_text(told)


def test_the_rules_are_well_formed_and_come_when_they_should() -> None:
    for done in (promtool("check", "rules", "rules.yaml", "alerts.yaml"), tried()):
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_that_is_missing_is_noticed(name: str, changed: Path) -> None:
    write([alert for alert in rules("alerts") if alert["alert"] != name], changed)
    assert tried(changed).returncode != 0, "nothing shows that it ever comes"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tried_where_it_must_not_come(name: str) -> None:
    tests = yaml.safe_load((FOLDER / "tests" / "alerts.yaml").read_text())["tests"]
    looked = [each for test in tests for each in test["alert_rule_test"]]
    assert any(each["alertname"] == name and not each["exp_alerts"] for each in looked)


@pytest.mark.parametrize("name", [a["alert"] for a in rules("alerts") if "for" in a])
def test_an_alert_that_does_not_wait_is_noticed(name: str, changed: Path) -> None:
    alerts = [{**a, "for": "0s"} if a["alert"] == name else a for a in rules("alerts")]
    write(alerts, changed)
    assert tried(changed).returncode != 0


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_severity_and_a_page_that_says_what_to_do(name: str) -> None:
    (alert,) = (alert for alert in rules("alerts") if alert["alert"] == name)
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert f"\n## {name}\n" in RUNBOOK.read_text()


def test_rules_ask_for_nothing_that_does_not_exist() -> None:
    known = {f"{name}{suffix}" for name in CATALOGUE for suffix in SUFFIXES}
    known |= {rule["record"] for rule in rules("rules")}
    for rule in (*rules("rules"), *rules("alerts")):
        asked = set(re.findall(r"\beos[_:][a-z0-9_:]+", rule["expr"]))
        assert asked, rule
        assert asked <= known, rule


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_what_dashboards_ask_is_promql(board: Any, tmp_path: Path) -> None:
    asked = [
        target["expr"]
        for panel in json.loads(board.json())["panels"]
        for target in panel.get("targets", [])
    ]
    for name, value in (("$__rate_interval", "1m"), ("$__range", "1h")):
        asked = [expression.replace(name, value) for expression in asked]
    told = [{"record": f"asked:{n}", "expr": expression} for n, expression in enumerate(asked)]
    (tmp_path / "asked.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "asked", "rules": told}]})
    )
    done = promtool("check", "rules", "asked.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(asked)} rules found" in done.stdout
