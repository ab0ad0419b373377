"""`eos relay`: publishes what an outbox holds."""

import os
import sys
from typing import Annotated

import typer

from eos import workers as processes
from eos.cli.run import LogLevel
from eos.core.errors import EosError
from eos.workers.contract import one_line
from eos.workers.pool import DRAIN_SECONDS

KAFKA = typer.Option(
    envvar="EOS_KAFKA",
    metavar="FILE",
    help="Settings of the client, such as how to log in: lines of librdkafka's name=value.",
)


def relay(
    db: Annotated[
        str,
        typer.Option(
            envvar="EOS_OUTBOX",
            metavar="URL",
            help="The database: postgresql://user:password@host:port/name, sqlite:///file",
        ),
    ],
    brokers: Annotated[str, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port")],
    namespace: Annotated[
        str,
        typer.Option(
            envvar="EOS_NAMESPACE",
            help="Names the outbox in Kafka; the same for all of its relays, for ever.",
        ),
    ],
    kafka: Annotated[str | None, KAFKA] = None,
    poll: Annotated[
        str, typer.Option(envvar="EOS_OUTBOX_POLL", help="Look for rows at least this often.")
    ] = "1s",
    keep: Annotated[
        str, typer.Option(envvar="EOS_OUTBOX_KEEP", help="Keep published rows for this long.")
    ] = "0s",
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /metrics here (0: any free).")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged.")] = LogLevel.INFO,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    drain_seconds: Annotated[
        float, typer.Option(min=0.0, help="How long it may finish what it began.")
    ] = DRAIN_SECONDS,
) -> None:
    """Publish the rows of an outbox until SIGTERM or Ctrl-C. Several relays share the work."""
    # The worker process reads them: a password on its command line would show.
    os.environ |= {
        "EOS_OUTBOX": db,
        "EOS_BROKERS": brokers,
        "EOS_NAMESPACE": namespace,
        "EOS_OUTBOX_POLL": poll,
        "EOS_OUTBOX_KEEP": keep,
        **({"EOS_KAFKA": kafka} if kafka else {}),
    }
    try:
        code = processes.run(
            "eos.cli.relay_app:app",
            metrics_port=metrics_port,
            log_level=log_level.value,
            log_json=log_json,
            drain_seconds=drain_seconds,
        )
    except EosError as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(1) from error
    raise typer.Exit(code)
