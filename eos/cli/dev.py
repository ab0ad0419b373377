"""`eos dev`: real Kafka and Redis, and PostgreSQL if wanted, on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from eos.devstack import DevStack, DevStackError, keeper, topics

Folder = Annotated[Path, typer.Option(help="Where data and logs are kept.")]
Brokers = Annotated[int, typer.Option(help="How many Kafka brokers: 1 or 3.")]
Postgres = Annotated[bool, typer.Option("--postgres", help="Run PostgreSQL, too.")]

FOLDER = Path(".eos")
STARTING = "Starting Kafka and Redis (the first start fetches Kafka with Maven) ..."

dev = typer.Typer(help="Run real Kafka and Redis on this machine.")


@dev.callback(invoke_without_command=True)
def foreground(
    context: typer.Context,
    folder: Folder = FOLDER,
    brokers: Brokers = 1,
    postgres: Postgres = False,
) -> None:
    """Run real Kafka and Redis on this machine; without a command, until Ctrl-C."""
    if context.invoked_subcommand:
        if (folder, brokers, postgres) != (FOLDER, 1, False):
            raise typer.BadParameter(
                f"goes behind the command: eos dev {context.invoked_subcommand}"
            )
        return
    typer.echo(STARTING)
    with _clear_errors():
        keeper.keep(folder, brokers=brokers, ready=_show, postgres=postgres)


@dev.command()
def up(folder: Folder = FOLDER, brokers: Brokers = 1, postgres: Postgres = False) -> None:
    """Start the servers and leave them running until `eos dev down`."""
    with _clear_errors():
        kept = keeper.find(folder)
        if kept:
            if postgres and not kept.stack.postgres_url:
                raise DevStackError("It runs already, without PostgreSQL: eos dev down comes first")
            typer.echo("It runs already.")
            _show(kept.stack)
            return
        typer.echo(STARTING)
        _show(keeper.up(folder, brokers=brokers, postgres=postgres))


@dev.command()
def down(folder: Folder = FOLDER) -> None:
    """Stop what `eos dev up` left running in this folder; the data stays."""
    with _clear_errors():
        typer.echo("Stopped." if keeper.down(folder) else f"Nothing runs in {folder}.")


@dev.command()
def status(folder: Folder = FOLDER) -> None:
    """Say what runs in this folder and whether it answers; exit code 1 when it does not."""
    kept = keeper.find(folder)
    if not kept:
        typer.echo(f"Nothing runs in {folder}.")
        raise typer.Exit(1)
    _show(kept.stack)
    silent = keeper.silent(kept.stack)
    for address in silent:
        typer.echo(f"{address} does not answer.", err=True)
    if silent:
        raise typer.Exit(1)


@dev.command()
def topic(
    names: Annotated[list[str], typer.Argument(help="What to call them.")],
    partitions: Annotated[int, typer.Option(min=1, help="How many partitions each.")] = 4,
    folder: Folder = FOLDER,
) -> None:
    """Create topics on what runs in this folder."""
    with _clear_errors():
        kept = keeper.find(folder)
        if not kept:
            raise DevStackError(f"Nothing runs in {folder}: start it with eos dev up")
        for name, made in topics.create(kept.stack.bootstrap_servers, names, partitions).items():
            typer.echo(f"{name}: {'created' if made else 'exists already'}")


def _show(stack: DevStack) -> None:
    typer.echo(f"Kafka  {stack.bootstrap_servers}")
    typer.echo(f"Redis  {stack.redis_url}")
    if stack.postgres_url:
        typer.echo(f"SQL    {stack.postgres_url}")
    typer.echo(f"Logs   {stack.folder / 'logs'}")
    typer.echo("For eos apps:")
    typer.echo(f"export EOS_BROKERS={stack.bootstrap_servers} EOS_LEDGER={stack.redis_url}")
    typer.echo("For tests and the demo, to use these servers instead of starting some:")
    named = f"EOS_BOOTSTRAP_SERVERS={stack.bootstrap_servers} EOS_REDIS_URL={stack.redis_url}"
    if stack.postgres_url:
        named += f" EOS_POSTGRES_URL={stack.postgres_url}"
    typer.echo(f"export {named}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except DevStackError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
