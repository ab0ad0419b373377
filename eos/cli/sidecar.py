"""`eos sidecar`: delivers records over HTTP, to a program in any language."""

import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from eos import workers as processes
from eos.cli.run import LogLevel
from eos.core.errors import ConfigError, EosError
from eos.workers.contract import one_line
from eos.workers.pool import DRAIN_SECONDS

FILE = "EOS_SIDECAR_CONFIG"
_NEEDED = ("aiohttp", "httptools", "starlette", "uvicorn")

sidecar = typer.Typer(
    help="Deliver records over HTTP, to a program in any language.", invoke_without_command=True
)


@sidecar.callback()
def run(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(envvar=FILE, metavar="FILE", help="eos.toml; or all in the environment."),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged.")] = LogLevel.INFO,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    drain_seconds: Annotated[
        float, typer.Option(min=0.0, help="How long it may finish what it began.")
    ] = DRAIN_SECONDS,
) -> None:
    """Deliver until SIGTERM or Ctrl-C."""
    if config:
        os.environ[FILE] = config  # for the worker process
    if context.invoked_subcommand is not None:
        return
    try:
        _check()
        code = processes.run(
            "eos.cli.sidecar_app:app",
            log_level=log_level.value,
            log_json=log_json,
            drain_seconds=drain_seconds,
        )
    except EosError as error:
        _say(error)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


@sidecar.command(name="config")
def show() -> None:
    """Print what a sidecar would run with, secrets hidden."""
    from eos.doors.sidecar.config.reading import read  # noqa: PLC0415 as needed as the rest of it
    from eos.doors.sidecar.config.shown import shown  # noqa: PLC0415

    try:
        print(shown(read(os.environ.get(FILE) or None, os.environ)), end="")
    except ConfigError as error:
        _say(error)
        raise typer.Exit(2) from error


def _check() -> None:
    """See that all is there and right, before a process is started for it."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(
            [f"{', '.join(missing)} not installed: pip install 'eos-delivery[sidecar]'"]
        )
    from eos.doors.sidecar.config.reading import read  # noqa: PLC0415 it may need what is checked above

    read(os.environ.get(FILE) or None, os.environ)


def _say(error: EosError) -> None:
    faults = error.faults if isinstance(error, ConfigError) else [one_line(error)]
    for fault in faults:
        print(f"eos: {fault}", file=sys.stderr)
