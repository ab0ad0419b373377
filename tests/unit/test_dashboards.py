"""The dashboards for Grafana: what they show, and that their JSON is that of the code."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import BOARDS, FOLDER
from deploy.grafana.board import Board
from eos.observe.catalogue import CATALOGUE

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yaml"
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def recorded() -> dict[str, str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def panels(board: Board) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(board.json())["panels"]
    return found


def asked(expression: str) -> Iterator[str]:
    """Give the metrics that a query asks for, those behind recording rules as well."""
    rules = recorded()
    for name in re.findall(r"\beos[_:][a-z0-9_:]+", expression):
        yield name
        if name in rules:
            yield from asked(rules[name])


@pytest.fixture(scope="module")
def expressions() -> list[str]:
    return [
        target["expr"]
        for board in BOARDS
        for panel in panels(board)
        for target in panel.get("targets", [])
    ]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_json_is_that_of_the_code(board: Board) -> None:
    told = "is not up to date: python -m deploy.grafana writes it anew"
    assert (FOLDER / f"{board.name}.json").read_text() == board.json(), told


def test_there_is_no_dashboard_beside_them() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {board.name for board in BOARDS}


def test_every_metric_is_shown_somewhere(expressions: list[str]) -> None:
    shown = {name for expression in expressions for name in asked(expression)}
    for name, metric in CATALOGUE.items():
        assert {name + suffix for suffix in SUFFIXES[metric.kind]} & shown, name


def test_nothing_is_shown_that_does_not_exist(expressions: list[str]) -> None:
    known = {name + suffix for name, it in CATALOGUE.items() for suffix in SUFFIXES[it.kind]}
    for expression in expressions:
        assert set(asked(expression)) <= known | recorded().keys(), expression


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_can_be_told_apart_and_fill_the_width(board: Board) -> None:
    found = panels(board)
    assert len({panel["id"] for panel in found}) == len(found)
    lines: dict[int, int] = {}
    for panel in found:
        lines[panel["gridPos"]["y"]] = lines.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert letters == list("ABC")[: len(letters)]
        assert panel["type"] == "row" or panel["description"].endswith(".")
    assert set(lines.values()) == {24}
