"""The demo with no server at all: a mock broker in this process, the rest in SQLite files."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from eos import db
from eos.demo import mock
from eos.demo.charges import Charge
from eos.demo.names import Names

HIDDEN = (
    "transactions of Kafka: effects are rows here, and the broker takes part in no commit",
    "fencing by the broker: it lets zombies publish; here the database alone refuses them",
    "rebalances under a real coordinator: the mock's groups are a sketch, hard on the plain loop",
    "loss of the ledger: keys and effects are in one file, which is there or is not",
    "durability of the log: it is in this process's memory, 5 MB a partition, and nowhere else",
    "speed: a mock broker is no Kafka, and SQLite is no server",
)
"""What this form cannot show."""

_CHARGES = """
CREATE TABLE charges (
    order_id TEXT NOT NULL, cents INTEGER NOT NULL,
    record_partition INTEGER NOT NULL, record_offset INTEGER NOT NULL
)"""
_READ = "SELECT order_id, cents, record_partition, record_offset FROM charges"


class Embedded:
    """Implements `eos.demo.ground.Ground`."""

    eos_app = "eos.demo.embedded_app:app"
    plain_app = "eos.demo.plain_app:embedded"
    workers = 4
    partitions = mock.PARTITIONS
    commits: int | None = None
    hidden: tuple[str, ...] = HIDDEN

    def __init__(self, names: Names) -> None:
        self.names = names
        db.create(db.engine_of(names.ledger))
        # No unique constraint: a second effect shall show, not fail.
        for file in (names.database, names.plain_database):
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_CHARGES)

    def gathered(self) -> bool:
        """See whether each eos worker has got partitions; the plain ones began with them."""
        return all(self.names.arrival(slot).exists() for slot in range(self.workers))

    def effects(self) -> tuple[Iterable[Charge], Iterable[Charge]]:
        """Read the tables of charges."""
        return _charges(self.names.database), _charges(self.names.plain_database)


@contextmanager
def embedded(run: str, folder: Path) -> Iterator[Embedded]:
    """Start the broker, and make the files."""
    folder = folder.resolve()
    with mock.broker() as address:
        names = Names(run, address, f"sqlite:///{folder}/{run}-eos.db", str(folder))
        strategies = {names.group: "cooperative-sticky", names.plain_group: "range,roundrobin"}
        with mock.led(address, strategies):
            yield Embedded(names)


def _charges(file: str) -> Iterator[Charge]:
    with closing(sqlite3.connect(file)) as connection:
        for row in connection.execute(_READ):
            yield Charge(*row)
