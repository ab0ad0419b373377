"""`eos outbox`: looks after an outbox."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from eos.cli.patience import patiently
from eos.cli.relay import KAFKA
from eos.core.errors import ConfigError, EosError
from eos.core.outbox import Progress
from eos.core.settings import Settings
from eos.doors.environment import client_settings
from eos.operate.outbox import Resolution
from eos.operate.outbox import status as look

Url = Annotated[
    str,
    typer.Argument(
        envvar="EOS_OUTBOX",
        metavar="URL",
        help="postgresql://user:password@host:port/name, sqlite:///file",
    ),
]

outbox = typer.Typer(help="Look after the outbox in a SQL database.")


@outbox.command()
def status(url: Url) -> None:
    """Say what waits, what is dead and why, and how far each shard has come."""
    from eos import build, db  # noqa: PLC0415 SQLAlchemy takes a while

    with _clear_errors():
        found = look(build.upkeep(db.engine_of(url)))
    backlog = found.backlog
    typer.echo(f"relayed under  {found.namespace or '(never yet)'}")
    typer.echo(f"waiting        {backlog.rows} rows, the oldest for {backlog.oldest:.1f} s")
    typer.echo(f"scheduled      {backlog.scheduled} rows")
    typer.echo(f"dead           {backlog.dead} rows")
    for shard, known in found.shards.items():
        typer.echo(f"shard {shard}        {_shown(known)}")
    for row in found.dead:
        typer.echo(f"dead row {row.id}: {row.message_id} to {row.topic}: {row.reason}")


@outbox.command()
def redrive(
    url: Url,
    ids: Annotated[
        list[int] | None, typer.Option("--id", help="A dead row; can be given several times.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead rows.")] = False,
) -> None:
    """Have dead rows published again, in their old order."""
    from eos import build, db  # noqa: PLC0415

    with _clear_errors():
        if bool(ids) == every:
            raise ConfigError(["say which dead rows: --id, once for each of them, or --all"])
        upkeep = build.upkeep(db.engine_of(url))
        upkeep.check()
        count = upkeep.redrive(None if every else ids)
    typer.echo(f"{count} rows wait to be published again.")


@outbox.command()
def resolve(
    url: Url,
    brokers: Annotated[str, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port")],
    namespace: Annotated[
        str, typer.Option(envvar="EOS_NAMESPACE", help="Under which the outbox is relayed.")
    ],
    kafka: Annotated[str | None, KAFKA] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The batch that is recorded stands in its topics.")
    ] = False,
    not_published: Annotated[
        bool, typer.Option("--not-published", help="It does not: publish it.")
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Publish all that stands in the outbox.")
    ] = False,
) -> None:
    """Have shards go on that a relay refuses, once you know what it cannot know.

    The relay's message says which of the three to give. Shards that it does not refuse are left as
    they are.
    """
    from eos import build, db  # noqa: PLC0415

    given = {
        Resolution.PUBLISHED: published,
        Resolution.NOT_PUBLISHED: not_published,
        Resolution.GO_ON: go_on,
    }
    said = [each for each, is_given in given.items() if is_given]
    with _clear_errors():
        if len(said) != 1:
            raise ConfigError(["give one of --published, --not-published and --go-on"])
        engine = db.engine_of(url)
        upkeep = build.upkeep(engine)
        upkeep.check()
        _check_namespace(upkeep.namespace(), namespace)
        client = client_settings(kafka) if kafka else {}
        settings = Settings(group=namespace, namespace=namespace, brokers=brokers, kafka=client)
        settings.check_servers()
        doing = build.resolve(build.relay_settings(settings), engine)
        resolved = patiently(lambda: doing(said[0]))
    for shard, sent, waiting in resolved:
        typer.echo(f"shard {shard} goes on behind batch {sent}; {waiting} rows are published next")
    if not resolved:
        typer.echo("There was nothing to resolve: database and Kafka belong together.")


def _shown(known: Progress) -> str:
    sent = f"{known.sent} batches published"
    if not known.recorded:
        return sent
    return f"{sent}, batch {known.sent + 1} recorded with {len(known.recorded)} rows"


def _check_namespace(found: str | None, given: str) -> None:
    if found != given:
        under = f"it is relayed under {found!r}" if found else "no relay ever ran"
        raise ConfigError([f"namespace={given!r}: {under}"])


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except EosError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
