"""`eos run`: worker processes of an application."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from eos import workers as processes
from eos.core.errors import EosError
from eos.workers.contract import one_line
from eos.workers.pool import DRAIN_SECONDS


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:APP", help="Where your eos.App is: orders.main:app")
    ],
    workers: Annotated[int, typer.Option(min=1, help="How many processes.")] = 1,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /metrics of all workers here (0: any free)."),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged.")] = LogLevel.INFO,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    drain_seconds: Annotated[
        float, typer.Option(min=0.0, help="How long workers may finish what they began.")
    ] = DRAIN_SECONDS,
) -> None:
    """Run the workers of an application until SIGTERM or Ctrl-C; a second one kills them."""
    try:
        code = processes.run(
            target,
            workers,
            metrics_port=metrics_port,
            log_level=log_level.value,
            log_json=log_json,
            drain_seconds=drain_seconds,
        )
    except EosError as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(1) from error
    raise typer.Exit(code)
