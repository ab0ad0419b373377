"""How `eos check` shows what it found: to people, to pipes, to programs."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eos.operate.checks import Finding, Level

_WHAT = 26
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "bold red"}


class Report:
    """Shows sections as they come.

    Args:
        as_json: Show nothing before the end, and then one JSON document.
        console: Where to show it; default: standard output.

    Attributes:
        faults: How many there were.
        warnings: How many there were.
    """

    def __init__(self, *, as_json: bool, console: Console | None = None) -> None:
        self.faults = self.warnings = 0
        self._as_json = as_json
        self._console = console or Console(highlight=False)
        self._rows: list[dict[str, str]] = []

    def section(self, name: str, findings: Sequence[Finding]) -> None:
        """Show what was found in a section."""
        self.faults += sum(each.level is Level.FAULT for each in findings)
        self.warnings += sum(each.level is Level.WARNING for each in findings)
        self._rows += [{"section": name, **asdict(each)} for each in findings]
        if self._as_json or not findings:
            return
        if self._console.is_terminal:
            self._console.print(Text(name, style="bold"))
            self._console.print(_table(findings))
        else:
            sys.stdout.write(_plain(name, findings))

    def end(self, seconds: float) -> None:
        """Show the sum."""
        if self._as_json:
            counts = {"faults": self.faults, "warnings": self.warnings}
            print(json.dumps({**counts, "rows": self._rows}, indent=2), flush=True)
            return
        sum_ = f"{_counted(self.faults, 'fault')}, {_counted(self.warnings, 'warning')}"
        worst = Level.FAULT if self.faults else Level.WARNING if self.warnings else Level.OK
        self._console.print(Text(f"{sum_} in {seconds:.1f} s", style=_STYLES[worst]))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(width=9)
    table.add_column(width=_WHAT, overflow="fold")
    table.add_column(overflow="fold")
    for each in findings:
        told = Text(each.found)
        if each.advice:
            told.append(f"\n→ {each.advice}", style="cyan")
        table.add_row(Text(f"  {each.level}", style=_STYLES[each.level]), Text(each.what), told)
    return table


def _plain(name: str, findings: Sequence[Finding]) -> str:
    lines = [name]
    for each in findings:
        lines.append(f"  {each.level:<8} {each.what}: {each.found}")
        if each.advice:
            lines.append(f"           -> {each.advice}")
    return "\n".join(lines) + "\n"


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'s' * (count != 1)}"
