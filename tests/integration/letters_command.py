"""`eos dlq` in small batches, with a fault at a crash point or a bug; see `letters_kit.py`."""

import json
import sys
from typing import Any

from eos import build
from eos.cli.main import app
from eos.core.letters import REDRIVEN, Letter, redriven_headers
from eos.core.record import Headers
from eos.core.settings import Settings
from eos.operate import redrive
from eos.testing.faults import Fault, faulty

BATCH = 7


def silent(letter: Letter, own: Headers) -> Headers:
    """Do not say where the letter was dead-lettered."""
    return [header for header in redriven_headers(letter, own) if header[0] != REDRIVEN]


def main(order: dict[str, Any]) -> None:
    """Run the command."""
    redrive.BATCH = BATCH
    if order["broken"] == "silent":
        redrive.redriven_headers = silent  # type: ignore[attr-defined]
    if order["fault"]:
        make = build.redrive

        def made(settings: Settings) -> redrive.Redrive:
            doing = make(settings)
            doing._transactions = faulty(doing._transactions, Fault(**order["fault"]))  # noqa: SLF001
            return doing

        build.redrive = made
    app(["dlq", *order["arguments"]])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
