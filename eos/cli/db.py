"""`eos db`: the tables of eos in a SQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from eos.core.errors import EosError

Url = Annotated[
    str,
    typer.Argument(metavar="URL", help="postgresql://user:password@host:port/name, sqlite:///file"),
]

db = typer.Typer(help="Create, check and migrate the tables of eos in a SQL database.")


@db.command()
def create(url: Url) -> None:
    """Create the tables that are missing."""
    from eos import db as tables  # noqa: PLC0415 SQLAlchemy takes a while

    with _clear_errors():
        tables.create(tables.engine_of(url))
    typer.echo(f"Tables: {', '.join(sorted(tables.metadata.tables))}")


@db.command()
def check(url: Url) -> None:
    """See that the tables are there and of this version; exit code 1 when they are not."""
    from eos import db as tables  # noqa: PLC0415

    with _clear_errors():
        tables.check(tables.engine_of(url))
    typer.echo("The tables are as they should be.")


@db.command()
def migrate(url: Url) -> None:
    """Bring the tables to the version of this eos, all of the way or not at all."""
    from eos import db as tables  # noqa: PLC0415

    with _clear_errors():
        made = tables.migrate(tables.engine_of(url))
    typer.echo(f"Migrated to version {made[-1]}." if made else "There was nothing to do.")


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except EosError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
