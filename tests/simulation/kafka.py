"""The Kafka of the model: logs, a classic consumer group, transactions, and the audit topic."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from eos.core.frontier import Frontier
from eos.core.letters import Done
from eos.core.ports import Audited, Suppressed
from eos.core.rules import HANDLED, Owner, Verdict


class Record(NamedTuple):
    """One record of the input topic.

    Attributes:
        partition: The partition's number.
        offset: The offset in it.
        key: The idempotency key; None for a record without one.
        fingerprint: Of the payload. Copies differ in it now and then: a conflict.
        redriven: Partition and offset at which it was dead-lettered, if it says so.
    """

    partition: int
    offset: int
    key: int | None
    fingerprint: int
    redriven: tuple[int, int] | None = None

    def __str__(self) -> str:
        """Give where it stands and which key it has."""
        payload = "" if self.fingerprint == 0 else "'"
        origin = "<-p{}@{}".format(*self.redriven) if self.redriven else ""
        return f"p{self.partition}@{self.offset}={self.key}{payload}{origin}"

    @property
    def called(self) -> int:
        """The key that it has, or would have once it was redriven: then its position is one."""
        return -1 - 1000 * self.partition - self.offset if self.key is None else self.key

    @property
    def digest(self) -> bytes:
        """The digest of its key."""
        return b"" if self.key is None else b"%d" % self.key


class Outcome(NamedTuple):
    """What a transaction says about one record.

    Attributes:
        record: The record.
        verdict: What the claim said.
        owner: Another position that owns its key.
        failed: Whether the handler has given it up: it is a dead letter.
    """

    record: Record
    verdict: Verdict
    owner: Owner | None = None
    failed: bool = False

    @property
    def letter(self) -> bool:
        """Whether it is a dead letter."""
        return self.failed or self.verdict is Verdict.CONFLICT

    @property
    def applied(self) -> bool:
        """Whether it had its effect."""
        return self.verdict in HANDLED and not self.failed


class Fenced(Exception):  # noqa: N818 - an answer of the broker
    """A newer producer uses this transactional id."""


class IllegalGeneration(Exception):  # noqa: N818 - an answer of the broker
    """The group has another generation by now, or the member is no part of it."""


class Ending(Enum):
    """How a transaction stands with its coordinator."""

    OPEN = "open"
    COMMIT = "commit"
    ABORT = "abort"


class Transaction:
    """A transaction. Decided at once, but its markers reach offsets and audit one by one."""

    __slots__ = ("audit_marked", "ending", "offsets", "offsets_marked", "outcomes", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.ending = Ending.OPEN
        self.outcomes: list[Outcome] = []
        self.offsets: dict[int, Frontier] = {}
        self.offsets_marked = False
        self.audit_marked = False


class Kafka:
    """Everything here is safe from loss: the log is the truth."""

    def __init__(self, log: list[list[Record]], slots: int, accuse: Callable[[str], None]) -> None:
        self.log = log
        self.accuse = accuse
        self.ends = [records[-1].offset + 1 if records else 0 for records in log]
        self.committed = [Frontier(0) for _ in log]
        """Committed offsets, as an unstable read sees them."""
        self.settled = [0] * len(log)
        """Committed offsets, as decided: the truth that a stable read waits for."""
        self.gaps: list[range] = [range(0) for _ in log]
        """What the logs have let go of before it was settled, by partition: the last of it."""
        self.lost: list[list[range]] = [[] for _ in log]
        """And all of it."""
        self.again: Counter[Record] = Counter()
        """How often operators wanted records handled once more."""
        self.unstable = [0] * len(log)
        """How many transactions hold back a stable read, by partition."""
        self.producer_epochs = [0] * slots
        self.ongoing: list[Transaction | None] = [None] * slots
        self.unmarked: list[Transaction] = []
        self.audit: list[tuple[Transaction, Suppressed]] = []
        self.outcomes: list[Outcome] = []
        self.letters: list[Outcome] = []
        """Dead letters."""
        self.letters_shown: int | None = None
        """How many of them can be read, where a transaction of another group is open."""
        self.noted: dict[int, Done] = {}
        """Which of them are noted to be done with, and how."""
        self.redriver = 0
        """The epoch of the producer that all who redrive share."""
        self.generation = 0
        self.assignment: dict[str, list[int]] = {}

    # --- the group ------------------------------------------------------------------------

    def rebalance(self, members: Iterable[str], turn: int) -> None:
        """Begin a generation: partitions are dealt out in turn."""
        self.generation += 1
        self.assignment = {member: [] for member in members}
        names = list(self.assignment)
        for partition in range(len(self.log)) if names else ():
            self.assignment[names[(partition + turn) % len(names)]].append(partition)

    def lose(self, partition: int, count: int) -> None:
        """Let the log let go of so many offsets that are not settled; what is gone stays so."""
        start, known = self.settled[partition], self.gaps[partition]
        stop = max(known.stop, min(start + count, self.ends[partition]))
        self.gaps[partition] = range(start, stop)
        self.lost[partition].append(self.gaps[partition])

    def is_lost(self, record: Record) -> bool:
        """Tell whether a record was let go of before it was settled.

        One that was read by then may be settled all the same. That the log keeps those for as long
        as the window is another promise, of whoever runs the brokers.
        """
        gaps = self.lost[record.partition]
        if not any(record.offset in gap for gap in gaps):
            return False
        return all(outcome.record != record for outcome in self.outcomes)

    def move(self, member: str, generation: int, partition: int, frontier: Frontier) -> None:
        """Commit an offset outside of any transaction."""
        if generation != self.generation or member not in self.assignment:
            raise IllegalGeneration
        if frontier.offset < self.settled[partition]:
            self.accuse(f"the frontier of p{partition} went back to {frontier.offset}")
        self.committed[partition] = frontier
        self.settled[partition] = frontier.offset

    def done(self) -> bool:
        """Tell whether every record is settled and every marker written."""
        return not self.unmarked and self.settled == self.ends

    def reset(self, partition: int, frontier: Frontier) -> None:
        """Set an offset from outside, which is refused while the group has members."""
        if self.assignment:
            raise IllegalGeneration
        self._count_again(partition, self.committed[partition], -1)
        self._count_again(partition, frontier, 1)
        self.committed[partition] = frontier
        self.settled[partition] = frontier.offset

    def _count_again(self, partition: int, frontier: Frontier, by: int) -> None:
        if frontier.replay is not None:
            stretch = range(frontier.offset, frontier.replay.until)
            for record in self.log[partition]:
                self.again[record] += by * (record.offset in stretch)

    # --- transactions ---------------------------------------------------------------------

    def init(self, slot: int) -> int:
        """Fence earlier producers of this transactional id, and abort what they left open."""
        self.producer_epochs[slot] += 1
        self._end(slot, Ending.ABORT)
        return self.producer_epochs[slot]

    def busy(self, slot: int) -> bool:
        """Tell whether markers of the last transaction are still under way."""
        return any(transaction.slot == slot for transaction in self.unmarked)

    def produce(
        self, slot: int, epoch: int, outcomes: list[Outcome], audited: list[Suppressed]
    ) -> None:
        """Begin a transaction with these outputs and lines of the audit."""
        transaction = self._ongoing(slot, epoch)
        transaction.outcomes += outcomes
        self.audit += [(transaction, entry) for entry in audited]

    def send_offsets(
        self, slot: int, epoch: int, member: str, generation: int, offsets: Mapping[int, Frontier]
    ) -> None:
        """Add offsets. The coordinator checks the generation, not who owns the partition."""
        transaction = self._ongoing(slot, epoch)
        if generation != self.generation or member not in self.assignment:
            raise IllegalGeneration
        for partition in offsets:
            self.unstable[partition] += partition not in transaction.offsets
        transaction.offsets.update(offsets)

    def commit(self, slot: int, epoch: int) -> None:
        """Commit what is open; a stray request commits whatever is open by then."""
        self._fence(slot, epoch)
        self._end(slot, Ending.COMMIT)

    def abort(self, slot: int, epoch: int) -> None:
        """Abort what is open."""
        self._fence(slot, epoch)
        self._end(slot, Ending.ABORT)

    def time_out(self, slot: int) -> bool:
        """Abort a transaction that stood open for too long, and fence its producer."""
        if self.ongoing[slot] is None:
            return False
        self.init(slot)
        return True

    def mark(self, transaction: Transaction, offsets_first: bool) -> None:
        """Write the next marker of a decided transaction."""
        if not transaction.offsets_marked and (offsets_first or transaction.audit_marked):
            transaction.offsets_marked = True
            for partition, frontier in transaction.offsets.items():
                self.unstable[partition] -= 1
                if transaction.ending is Ending.COMMIT:
                    self.committed[partition] = frontier
        else:
            transaction.audit_marked = True
            if transaction.ending is Ending.COMMIT:
                self.letters += [outcome for outcome in transaction.outcomes if outcome.letter]
        if transaction.offsets_marked and transaction.audit_marked:
            self.unmarked.remove(transaction)

    def _fence(self, slot: int, epoch: int) -> None:
        if epoch != self.producer_epochs[slot]:
            raise Fenced

    def _ongoing(self, slot: int, epoch: int) -> Transaction:
        self._fence(slot, epoch)
        transaction = self.ongoing[slot]
        if transaction is None:
            transaction = self.ongoing[slot] = Transaction(slot)
        return transaction

    def _end(self, slot: int, ending: Ending) -> None:
        transaction = self.ongoing[slot]
        if transaction is None:
            return
        self.ongoing[slot] = None
        self.unmarked.append(transaction)
        transaction.ending = ending
        if ending is Ending.COMMIT:
            self.outcomes += transaction.outcomes
            for partition, frontier in transaction.offsets.items():
                if frontier.offset < self.settled[partition]:
                    self.accuse(f"the frontier of p{partition} went back to {frontier.offset}")
                self.settled[partition] = frontier.offset

    # --- the audit ------------------------------------------------------------------------

    def audit_end(self, *, stable: bool) -> int:
        """Give the audit's high watermark, or its last stable offset."""
        if stable:
            for index, (transaction, _) in enumerate(self.audit):
                if not transaction.audit_marked:
                    return index
        return len(self.audit)

    def note(self, entry: Suppressed) -> None:
        """Write into the audit outside of any transaction."""
        alone = Transaction(-1)
        alone.ending, alone.audit_marked = Ending.COMMIT, True
        self.audit.append((alone, entry))

    def entries(self, end: int) -> list[Suppressed]:
        """Read the audit up to an offset, committed lines only."""
        return [entry for each, entry in self.audit[:end] if each.ending is Ending.COMMIT]

    def audited(self, end: int, replayed: Mapping[int, range]) -> list[Audited]:
        """Read the audit up to an offset, committed lines only; give what it says by partition."""
        found = [Audited(replayed=replayed.get(p, range(0))) for p in range(len(self.log))]
        for entry in self.entries(end):
            found[entry.partition].add(entry)
        return found

    # --- what else comes into the log -----------------------------------------------------

    def append(
        self, partition: int, key: int, fingerprint: int, redriven: tuple[int, int] | None = None
    ) -> Record:
        """Append a record, as whoever sends it has it."""
        record = Record(partition, self.ends[partition], key, fingerprint, redriven)
        self.log[partition].append(record)
        self.ends[partition] += 1
        return record

    def take_redriver(self) -> int:
        """Fence earlier producers of those who redrive."""
        self.redriver += 1
        return self.redriver

    def discard(self, epoch: int, letters: Iterable[int]) -> int:
        """Note that a replay does with letters; give how many were not done with before."""
        if epoch != self.redriver:
            raise Fenced
        waiting = [letter for letter in letters if letter not in self.noted]
        self.noted.update(dict.fromkeys(waiting, Done.REPLAYED))
        return len(waiting)

    def read_letters(self) -> list[Outcome]:
        """Read the letters as far as they are stable."""
        return self.letters[: self.letters_shown]

    def letters_end(self) -> bool:
        """Tell whether no transaction is open among the letters."""
        if self.letters_shown is not None:
            return False
        open_ = [transaction for transaction in self.ongoing if transaction is not None]
        return not any(
            outcome.letter
            for transaction in (*open_, *self.unmarked)
            if not transaction.audit_marked
            for outcome in transaction.outcomes
        )

    def redrive(self, epoch: int, letter: int, partition: int) -> Record:
        """Publish a letter again and note that it is done with, in one transaction."""
        if epoch != self.redriver:
            raise Fenced
        self.noted[letter] = Done.REDRIVEN
        record = self.letters[letter].record
        place = (record.partition, record.offset)
        return self.append(partition, record.called, record.fingerprint, place)
