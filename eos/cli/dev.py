"""`eos dev`: real Kafka and Redis on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from click.core import ParameterSource

from eos.devstack import DevStack, DevStackError, keeper

Folder = Annotated[Path, typer.Option(help="Where data and logs are kept.")]
Brokers = Annotated[int, typer.Option(help="How many Kafka brokers: 1 or 3.")]

FOLDER = Path(".eos")

dev = typer.Typer(help="Run real Kafka and Redis on this machine.")


@dev.callback(invoke_without_command=True)
def foreground(context: typer.Context, folder: Folder = FOLDER, brokers: Brokers = 1) -> None:
    """Run real Kafka and Redis on this machine; without a command, until Ctrl-C."""
