"""What a demo stands on: servers, or none."""

from collections.abc import Iterable
from typing import Protocol

from eos.demo.charges import Charge
from eos.demo.names import Names


class Ground(Protocol):
    """Where orders stand and effects go.

    Attributes:
        names: Topics, groups and files.
        eos_app: The eos workers, as `module:app`.
        plain_app: The plain loop's workers, likewise.
        workers: How many of each.
        partitions: Of the topic of orders.
        commits: How many kills must fall into a commit; None where a worker does not tell when
            it commits.
        hidden: What nobody can see here, whatever the counts are: a line each.
    """

    names: Names
    eos_app: str
    plain_app: str
    workers: int
    partitions: int
    commits: int | None
    hidden: tuple[str, ...]

    def gathered(self) -> bool:
        """Tell whether every worker has joined its group, as far as it can be told."""

    def effects(self) -> tuple[Iterable[Charge], Iterable[Charge]]:
        """Give all effects: those of the eos workers, those of the plain loop."""
