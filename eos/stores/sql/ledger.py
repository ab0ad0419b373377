"""The ledger in a SQL database, PostgreSQL or SQLite: one transaction per call.

The lock on the shard's row (see `ledger_book`) puts calls in order; all that follows in a call is
a few statements, however large the batch. A database is durable: a restart that loses nothing
closes no shard, and nothing is recovered. What loses something shows so:

1. Tables emptied, dropped or made anew, a SQLite file removed: the shard's row is gone. CLOSED.
2. A dump loaded back, a restore to a point in time, a replica promoted, another SQLite file in
   the place of the first: the seal names another database (see `ledger_server`). CLOSED.
3. An older copy put back in the very files, by a disk's snapshot or a copy over a SQLite file:
   the seal fits. A ledger that lives through it sees that `turn` went back, and breaks the
   seal: CLOSED. (SQLite files are replaced while no worker runs: SQLite itself forbids the
   rest. A file is known by its inode, which one that is made where another was deleted may get
   again: that is this case, too.) If nobody lives through it, each partition that went on since
   is found behind its frontier, or answers GAP, and is recovered by itself; until then a copy in
   a partition that did not go on may be taken for new. Whoever puts such a copy back while no
   worker runs closes all shards before the first one starts:
   UPDATE eos_ledger_shards SET seal = NULL.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from eos.core import rules
from eos.core.errors import RetriableError
from eos.core.leases import WHOLE, Asked, Leases, lease
from eos.core.ports import Assertion, Claimed, Claims, Mark, Recovery, Refused, Taken
from eos.core.ports.inspection import LedgerState, PartitionState
from eos.core.record import Shard
from eos.core.rules import Admission, Gap, Owner
from eos.stores.sql.errors import translated
from eos.stores.sql.ledger_book import Book, Part
from eos.stores.sql.ledger_filing import Filing
from eos.stores.sql.ledger_server import Server


class SqlLedger:
    """A `Ledger` in a SQL database. May be used by several threads.

    Nothing is retried in here: the caller decides, and may repeat any call.

    Args:
        url: `sqlite:///file`, which gets its tables by itself, or `postgresql://…`, which gets
            them by `eos db create`.
        window: For how long an owner is kept at least, in seconds of log time.
        generation: Length of a generation, in seconds; an owner is kept for at most this much
            longer than the window. Default: the window.
        clock: Gives the time in seconds since the epoch, for SQLite; PostgreSQL has its own.

    Raises:
        ConfigError: The URL cannot be read. At the first call: the tables are missing or old.
    """

    def __init__(
        self,
        url: str,
        *,
        window: int,
        generation: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._server = Server(url)
        self._window = window
        self._generation = generation or window
        self._clock = clock
        # The highest turn of each shard that a transaction of ours is known to have written.
        self._turns: dict[Shard, int] = {}

    # --- the port -------------------------------------------------------------------------

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over: bump their epochs. Works on a closed shard too."""
        with self._made(shard) as book:
            parts = book.parts(partitions)
            taken = {}
            for number in partitions:
                part = parts[number]
                previous = part.epoch
                part.epoch = rules.next_epoch(previous, book.now_us)
                taken[number] = Taken(part.epoch, part.claimed, part.floor, part.begun, previous)
            book.keep(parts)
            return taken

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records, all or nothing."""
        with self._found(shard) as book:
            if book is None or not book.sealed:
                return Refused(Admission.CLOSED)
            parts = book.parts(claims.partition for claims in batch)
            for claims in batch:
                part = parts[claims.partition]
                admission = rules.admit(
                    sealed=True,
                    epoch=claims.epoch,
                    newest_epoch=part.epoch,
                    start=claims.start,
                    claimed=part.claimed,
                )
                if admission is not Admission.OPEN:
                    return Refused(admission, claims.partition)
            filing = Filing.of(book, batch, self._generation)
            known = {c.partition: filing.claim(c, parts[c.partition]) for c in batch}
            filing.write()
            book.keep(parts)
            hearsay = _hearsay(book, filing.behind)
            return Claimed(book.seal or "", filing.verdicts, filing.behind, known, hearsay)

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal is still the one that claims were made under."""
        with self._transaction(writes=False) as connection:
            book = Book.seen(connection, shard, self._clock)
            return book is not None and book.sealed and book.seal == seal

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Note that the records below the mark may begin."""
        with self._found(shard) as book:
            if book is None or not book.sealed or book.seal != seal:
                return False
            parts = book.parts([mark.partition])
            part = parts[mark.partition]
            if mark.epoch < part.epoch:
                return False
            part.begun = max(part.begun, mark.offset)
            book.keep(parts)
            return True

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on, all or none of them; never back."""
        with self._found(shard) as book:
            if book is None or not book.sealed or book.seal != seal:
                return Admission.CLOSED
            parts = book.parts(mark.partition for mark in marks)
            if any(epoch < parts[p].epoch for p, epoch, _ in marks):
                return Admission.FENCED
            for p, _, frontier in marks:
                parts[p].floor = max(parts[p].floor, frontier)
            book.keep(parts)
            return Admission.OPEN

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        """Take floors, and what has begun, back to where a replay begins; never forward."""
        with self._made(shard) as book:
            parts = book.parts(mark.partition for mark in marks)
            if any(epoch < parts[p].epoch for p, epoch, _ in marks):
                return False
            for p, _, offset in marks:
                parts[p].floor = min(parts[p].floor, offset)
                parts[p].begun = min(parts[p].begun, offset)
            book.keep(parts)
            return True

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        """Note that nothing is delivered any more from `start` up to a mark."""
        number, epoch, stop = mark
        with self._made(shard) as book:
            parts = book.parts([number])
            part = parts[number]
            if epoch < part.epoch:
                return False
            book.add_gap(number, Gap(start, stop), self._generation)
            if start <= part.claimed < stop:
                part.claimed = stop
                book.keep(parts)
            return True

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        """Take, or hold on to, the shard as a whole, or a partition of it, to recover it."""
        with self._made(shard) as book:
            begun, partition = Leases(f"{book.identity}/{secrets.token_hex(8)}"), None
            recovery = begun
            if partitions is None or not book.sealed:
                asked = Asked(token, partitions, book.now_us + int(seconds * 1_000_000))
                answer = lease(book.leases, begun, asked, book.now_us)
                if answer is None:
                    return None
                recovery, partition = answer
                book.share(recovery)
            parts = book.all_parts()
            return Recovery(
                token,
                recovery.identity,
                book.sealed,
                {p: part.claimed for p, part in parts.items() if part.claimed},
                {p: part.floor for p, part in parts.items() if part.floor},
                partition,
                frozenset(recovery.done),
            )

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back, and count the stretch as claimed."""
        with self._found(shard) as book:
            if book is None or not _holds(book, recovery):
                return False
            parts = book.parts([assertion.partition])
            for gap in assertion.gaps:
                book.add_gap(assertion.partition, gap, self._generation)
            filing = Filing.of(book, [assertion], self._generation)
            filing.put_back(assertion, parts[assertion.partition])
            filing.write()
            book.keep(parts)
            if assertion.done and (here := book.leases) and recovery.partition is not None:
                here.finish(recovery.partition)
                book.share(here)
            return True

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        """Seal the shard anew, record the frontiers as floors, and end the recovery."""
        with self._found(shard) as book:
            if book is None:
                return False
            if book.sealed and (book.seal or "").startswith(f"{recovery.identity}/"):
                return True
            if not _may_open(book, recovery, partitions):
                return False
            parts = book.all_parts()
            for p in {*frontiers, *begun} - {*parts}:
                parts[p] = Part()
            if not book.sealed:
                book.seal = f"{recovery.identity}/{recovery.token}"
                for part in parts.values():
                    part.opened = 0
            for p, end in begun.items():
                parts[p].begun = max(parts[p].begun, end)
                parts[p].opened = max(parts[p].opened, end)
            for p, frontier in frontiers.items():
                parts[p].floor = max(parts[p].floor, frontier)
                parts[p].claimed = max(parts[p].claimed, frontier)
            book.keep(parts)
            book.share(None)
            return True

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        """Tell how far partitions have come in log time, and drop what no window needs."""
        with self._made(shard) as book:
            now = book.now_us // 1_000_000
            parts = book.parts([*frontier_times, *range(partitions)])
            for p, told in frontier_times.items():
                # A clock that runs ahead would drop everything: clamp what we are told as well.
                parts[p].passed = rules.log_time(told, parts[p].passed, now)
                # What comes later stands later in the log: never file it under what is gone.
                parts[p].last = max(parts[p].last, parts[p].passed)
            book.keep({p: parts[p] for p in frontier_times})
            times = [parts[p].passed for p in range(partitions)]
            live = book.generations()
            gone = [live[end] for end in live if rules.droppable(end, self._window, times)]
            book.drop(gone)
            return len(live) - len(gone)

    def look(self, shard: Shard) -> LedgerState:
        """Tell what is known of a shard."""
        with self._transaction(writes=False) as connection:
            book = Book.seen(connection, shard, self._clock)
            if book is None:
                return LedgerState(sealed=False, recovering=False, partitions={}, generations=[])
            parts = {
                p: PartitionState(part.epoch, part.claimed, part.floor, part.begun)
                for p, part in book.all_parts().items()
            }
            done = frozenset(here.done if (here := book.leases) else ())
            return LedgerState(book.sealed, book.recovered, parts, book.counts(), done)

    def unseal(self, shard: Shard) -> None:
        """Let nobody claim before the shard was recovered."""
        with self._found(shard) as book:
            if book is not None:
                book.seal = None
                book.share(None)

    def purge(self, shard: Shard) -> bool:
        """Delete all that is known of a shard."""
        with self._found(shard) as book:
            if book is None:
                return True
            if book.recovered:
                return False
            book.clear()
        more = True
        while more:  # in parts: others write to the same tables
            with self._found(shard) as book:
                more = book is not None and book.drop([])
        return True

    def owners(self, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
        """Tell who owns keys."""
        with self._transaction(writes=False) as connection:
            book = Book.seen(connection, shard, self._clock)
            return {} if book is None else book.owners(digests, book.generations())

    def close(self) -> None:
        """Give the connections back."""
        self._server.engine.dispose()

    # --- behind it ------------------------------------------------------------------------

    @contextmanager
    def _found(self, shard: Shard) -> Iterator[Book | None]:
        """Lock a shard that may not exist."""
        with self._book(shard, makes=False) as book:
            yield book

    @contextmanager
    def _made(self, shard: Shard) -> Iterator[Book]:
        """Lock a shard, which is made if it does not exist."""
        with self._book(shard, makes=True) as book:
            if book is None:
                raise RetriableError("the ledger's shard was deleted meanwhile", on="ledger")
            yield book

    @contextmanager
    def _book(self, shard: Shard, *, makes: bool) -> Iterator[Book | None]:
        with self._transaction(writes=True) as connection:
            book = Book.opened(connection, shard, self._clock, makes=makes)
            if book and book.turn <= self._turns.get(shard, 0):
                book.seal = None
                book.share(None)
            yield book
        self._turns[shard] = book.turn if book else 0

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with _told():
            self._server.prepare()
            with self._server.engine.connect() as connection:
                if writes and connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.commit()


@contextmanager
def _told() -> Iterator[None]:
    try:
        with translated():
            yield
    except RetriableError as error:
        raise RetriableError(str(error), on="ledger") from error


def _holds(book: Book, recovery: Recovery) -> bool:
    here, held = book.leases, (recovery.identity, recovery.token, recovery.partition)
    return here is not None and here.holds(*held, book.now_us)


def _may_open(book: Book, recovery: Recovery, partitions: int) -> bool:
    if partitions:
        here = book.leases
        return here is not None and here.complete(recovery.identity, partitions)
    return recovery.partition == WHOLE and _holds(book, recovery)


def _hearsay(book: Book, owners: Mapping[int, Owner]) -> frozenset[int]:
    if not owners:
        return frozenset()
    parts = book.parts(owner.partition for owner in owners.values())
    return frozenset(i for i, o in owners.items() if o.offset < parts[o.partition].opened)
