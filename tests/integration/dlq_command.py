"""`eos dlq` that stops, as a zombie does, before it first calls a method of its transactions."""

import sys

from eos import build
from eos.cli.main import app
from eos.core.settings import Settings
from eos.operate.redrive import Redrive
from eos.testing.faults import Fault, faulty, stop


def main(method: str, arguments: list[str]) -> None:
    """Run the command."""
    make = build.redrive

    def made(settings: Settings) -> Redrive:
        doing = make(settings)
        fault = Fault(method, "before", action=stop)
        doing._transactions = faulty(doing._transactions, fault)  # noqa: SLF001
        return doing

    build.redrive = made
    app(["dlq", *arguments])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
