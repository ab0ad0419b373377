"""The command tree of `eos`."""

import typer

app = typer.Typer(
    name="eos",
    help="Exactly-once delivery middleware for Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the `eos` command."""
    app()
