"""How `eos check` shows what it found."""

import io
import json
import re

import pytest
from rich.console import Console

from eos.cli.check_report import Report
from eos.operate.checks import fault, ok, warning

FOUND = [
    ok("topic orders", "read, 12 partitions, 3 copies, kept 7 days, CreateTime, newest 2 s old"),
    warning("brokers", "one broker: " + "if it goes down " * 12, "run three " * 15),
    fault("topic with-a-name-that-is-longer-than-its-column-is-wide", "does not exist", "make it"),
]


def on_terminal(width: int) -> str:
    out = io.StringIO()
    report = Report(as_json=False, console=Console(file=out, force_terminal=True, width=width))
    report.section("brokers", FOUND)
    report.end(1.25)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_of_any_width_gets_lines_that_fit_and_lose_nothing(width: int) -> None:
    plain = _without_colours(on_terminal(width))

    assert max(len(line) for line in plain.splitlines()) <= width
    for finding in FOUND:
        for word in f"{finding.found} {finding.advice}".split():
            assert word in plain
    assert "1 fault, 1 warning in 1.2 s" in plain


def _without_colours(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_a_pipe_gets_a_line_for_what_was_found_and_one_for_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report(as_json=False)
    report.section("brokers", FOUND)
    report.end(1.0)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "brokers"
    assert lines[1].startswith("  ok       topic orders: read, 12 partitions")
    assert lines[-3].endswith("is-wide: does not exist")
    assert lines[-2] == "           -> make it"
    assert lines[-1] == "1 fault, 1 warning in 1.0 s"
    assert (report.faults, report.warnings) == (1, 1)


def test_a_program_gets_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(as_json=True)
    report.section("brokers", FOUND)
    report.end(1.0)

    told = json.loads(capsys.readouterr().out)
    assert (told["faults"], told["warnings"], len(told["rows"])) == (1, 1, 3)
    assert told["rows"][2]["advice"] == "make it"
