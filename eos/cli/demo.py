"""`eos demo`: the promise, shown on real servers."""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from eos.core.errors import EosError
from eos.demo import Demo, Options
from eos.demo.report import Progress, Report
from eos.devstack import DevStackError

_LINE_SECONDS = 5.0


def demo(
    records: Annotated[
        int | None, typer.Option(min=100, help="How many orders (100000; embedded: 24000).")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(min=5, help="Over how many seconds they are published (90; embedded: 24)."),
    ] = None,
    kills: Annotated[
        int | None, typer.Option(min=1, help="How often a worker is killed (10; embedded: 9).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats orders and kills.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep data and logs in this folder.")] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="No servers: a mock broker in this process, SQLite.")
    ] = False,
) -> None:
    """Kill workers while orders come in, and count duplicates and losses.

    Some eos workers and as many of a plain at-least-once loop read the same orders and suffer the
    same kills: on real Kafka and Redis, or, with --embedded, on nothing but this package, which
    shows less, and says what. Exit status 1 if eos shows a duplicate or a loss, or if the run put
    nothing to the test.
    """
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
    console = Console(soft_wrap=True)
    logging.getLogger("eos").addHandler(logging.NullHandler())  # kills are told by the demo
    try:
        options = Options.fitting(
            embedded=embedded, records=records, duration=duration, kills=kills, seed=seed, keep=keep
        )
        report = _run(options, console)
    except (DevStackError, EosError) as error:
        console.print(f"eos demo: {error}", style="red", highlight=False, markup=False)
        if isinstance(error, DevStackError) and not embedded:
            console.print("Without any server: eos demo --embedded", highlight=False)
        raise typer.Exit(1) from error
    console.print(_table(report))
    if report.hidden:
        console.print("What this form cannot show; `eos demo` runs on real Kafka and Redis:")
    for line in report.hidden:
        console.print(f"  - {line}", highlight=False, markup=False)
    faults = report.faults()
    for fault in faults:
        console.print(f"FAILED: {fault} (seed {seed})", style="red", highlight=False)
    if keep is not None:
        console.print(f"data and logs are in {keep}", highlight=False)
    raise typer.Exit(1 if faults else 0)


def _run(options: Options, console: Console) -> Report:
    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    if not console.is_terminal:
        return Demo(options, say, _Lines(say)).run()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        return Demo(options, say, lambda progress: live.update(_progress(progress))).run()


class _Lines:
    """Shows progress where there is no terminal: a line every few seconds."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._due = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.seconds >= self._due:
            self._due = progress.seconds + _LINE_SECONDS
            self._say(
                f"{progress.seconds:5.1f} s  sent {progress.sent}  settled {progress.settled}  "
                f"suppressed {progress.suppressed}  rolled back {progress.rolled_back}"
            )


def _progress(progress: Progress) -> Table:
    table = Table(title=f"{progress.seconds:.0f} s")
    for column in ("sent", "settled", "duplicates suppressed", "rolled back", "kills"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{progress.sent:,}",
        f"{progress.settled:,}",
        f"{progress.suppressed:,}",
        f"{progress.rolled_back:,}",
        str(len(progress.kills)),
    )
    return table


def _table(report: Report) -> Table:
    table = Table(title=f"{len(report.kills)} kills in {report.seconds:.0f} s, seed {report.seed}")
    table.add_column("")
    table.add_column("eos", justify="right", style="bold")
    table.add_column("plain loop", justify="right")
    for row in report.rows():
        table.add_row(*row)
    return table
