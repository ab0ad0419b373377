"""The owners that a batch of claims meets, and those that it makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from eos.core.ports import Assertion, Claims
from eos.core.rules import Owner
from eos.stores.sql.ledger_book import Book


@dataclass(slots=True)
class Filing:
    """Owners of a shard, by digest: those of a batch's keys, read together and written together.

    Attributes:
        book: The shard.
        generation: Length of a generation, in seconds.
        live: The number of each live generation, by its end.
        owners: Who owns which key, new owners included.
        now: The database's clock, in seconds.
    """

    book: Book
    generation: int
    live: dict[int, int]
    owners: dict[bytes, Owner]
    now: int
    _new: dict[int, dict[bytes, Owner]] = field(default_factory=dict)

    @classmethod
    def of(cls, book: Book, batch: Sequence[Claims] | Sequence[Assertion], generation: int) -> Self:
        """Look up the owners of all keys of a batch."""
        digests = list(dict.fromkeys(d for claims in batch for d in claims.digests if d))
        live = book.generations()
        found = book.owners(digests, live)
        return cls(book, generation, live, found, book.now_us // 1_000_000)

    def own(self, time: int, digest: bytes, owner: Owner) -> None:
        """Make an owner, under its log time in seconds."""
        self.owners[digest] = owner
        end = (time // self.generation + 1) * self.generation
        self._new.setdefault(end, {})[digest] = owner

    def write(self) -> None:
        """Write the new owners down."""
        for end, new in self._new.items():
            self.book.own(end, new, self.live)
