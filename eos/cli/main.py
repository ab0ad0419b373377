"""The command tree of `eos`."""

import typer

from eos.cli.check import check
from eos.cli.db import db
from eos.cli.demo import demo
from eos.cli.dev import dev
from eos.cli.dlq import dlq
from eos.cli.ledger import ledger
from eos.cli.outbox import outbox
from eos.cli.relay import relay
from eos.cli.replay import replay
from eos.cli.run import run
from eos.cli.sidecar import sidecar

app = typer.Typer(
    name="eos",
    help="Exactly-once delivery middleware for Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(dev, name="dev")
app.add_typer(db, name="db")
app.add_typer(outbox, name="outbox")
app.add_typer(ledger, name="ledger")
app.add_typer(dlq, name="dlq")
app.add_typer(sidecar, name="sidecar")
app.command()(run)
app.command()(relay)
app.command()(replay)
app.command()(check)
app.command()(demo)


def main() -> None:
    """Run the `eos` command."""
    app()
