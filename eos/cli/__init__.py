"""The `eos` command: one file a subcommand."""

from eos.cli.main import main

__all__ = ["main"]
