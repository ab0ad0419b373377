"""The Kafka of the model: logs, a classic consumer group, transactions, and the audit topic."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from eos.core.rules import Verdict


class Record(NamedTuple):
    """One record of the input topic.

    Attributes:
        partition: The partition's number.
        offset: The offset in it.
        key: The idempotency key; None for a record without one.
        fingerprint: Of the payload. Copies differ in it now and then: a conflict.
    """

    partition: int
    offset: int
    key: int | None
    fingerprint: int

    def __str__(self) -> str:
        """Give where it stands and which key it has."""
        payload = "" if self.fingerprint == 0 else "'"
        return f"p{self.partition}@{self.offset}={self.key}{payload}"


class Outcome(NamedTuple):
    """What a transaction says about one record."""

    record: Record
    verdict: Verdict


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
        self.offsets: dict[int, int] = {}
        self.offsets_marked = False
        self.audit_marked = False


class Kafka:
    """Everything here is safe from loss: the log is the truth."""

    def __init__(self, log: list[list[Record]], slots: int, accuse: Callable[[str], None]) -> None:
        self.log = log
        self.accuse = accuse
        self.ends = [records[-1].offset + 1 if records else 0 for records in log]
        self.committed = [0] * len(log)
        """Committed offsets, as an unstable read sees them."""
        self.settled = [0] * len(log)
        """Committed offsets, as decided: the truth that a stable read waits for."""
        self.unstable = [0] * len(log)
        """How many transactions hold back a stable read, by partition."""
        self.producer_epochs = [0] * slots
        self.ongoing: list[Transaction | None] = [None] * slots
        self.unmarked: list[Transaction] = []
        self.audit: list[tuple[Transaction, Record]] = []
        self.outcomes: list[Outcome] = []
        self.generation = 0
        self.assignment: dict[str, list[int]] = {}

    # --- the group ------------------------------------------------------------------------

    def rebalance(self, members: Iterable[str], turn: int) -> None:
        """Begin a generation: partitions are dealt out in turn."""
        self.generation += 1
        self.assignment = {member: [] for member in members}
        names = list(self.assignment)
        for partition in range(len(self.log)):
            self.assignment[names[(partition + turn) % len(names)]].append(partition)

    def done(self) -> bool:
        """Tell whether every record is settled and every marker written."""
        return self.committed == self.ends and not self.unmarked

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
        self, slot: int, epoch: int, outcomes: list[Outcome], audited: list[Record]
    ) -> None:
        """Begin a transaction with these outputs and lines of the audit."""
        transaction = self._ongoing(slot, epoch)
        transaction.outcomes += outcomes
        self.audit += [(transaction, record) for record in audited]

    def send_offsets(
        self, slot: int, epoch: int, member: str, generation: int, offsets: Mapping[int, int]
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
            for partition, offset in transaction.offsets.items():
                self.unstable[partition] -= 1
                if transaction.ending is Ending.COMMIT:
                    self.committed[partition] = offset
        else:
            transaction.audit_marked = True
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
            for partition, offset in transaction.offsets.items():
                if offset < self.settled[partition]:
                    self.accuse(f"the frontier of p{partition} went back to {offset}")
                self.settled[partition] = offset

    # --- the audit ------------------------------------------------------------------------

    def audit_end(self, *, stable: bool) -> int:
        """Give the audit's high watermark, or its last stable offset."""
        if stable:
            for index, (transaction, _) in enumerate(self.audit):
                if not transaction.audit_marked:
                    return index
        return len(self.audit)

    def audited(self, end: int) -> set[Record]:
        """Read the audit up to an offset, committed lines only."""
        return {
            record
            for transaction, record in self.audit[:end]
            if transaction.ending is Ending.COMMIT
        }
