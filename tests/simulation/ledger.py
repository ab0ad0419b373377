"""The ledger of the model: decides by the project's rule functions, and forgets on demand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from eos.core.rules import (
    HANDLED,
    Admission,
    Owner,
    Verdict,
    admit,
    next_epoch,
    reasserts,
    restored,
    verdict,
)
from tests.simulation.kafka import Record
from tests.simulation.switches import Switches


class Seal(NamedTuple):
    """The server's identity, and a number that no other opening has."""

    identity: int
    nonce: int

    def __str__(self) -> str:
        """Give a short name."""
        return f"seal {self.identity}/{self.nonce}"


class Claims(NamedTuple):
    """The claims of one partition in one batch."""

    partition: int
    epoch: int
    frontier: int
    start: int
    end: int
    records: list[Record]


class Claimed(NamedTuple):
    """The answer to claims that were taken."""

    seal: Seal
    verdicts: list[Verdict]

    def __str__(self) -> str:
        """Give the verdicts."""
        return " ".join(verdict.name for verdict in self.verdicts)


class Refused(NamedTuple):
    """The answer to claims that were not."""

    why: Admission
    partition: int

    def __str__(self) -> str:
        """Give the reason."""
        return f"refused, {self.why.name} p{self.partition}"


class Lock(NamedTuple):
    """Who holds the recovery lock, and which holding of it that is."""

    token: int
    stamp: int


class Locked(NamedTuple):
    """The answer while somebody else holds it."""

    by: Lock


class Recovery(NamedTuple):
    """The right to recover: what it runs against, and from where on to read again."""

    identity: int
    lock: Lock
    begin: dict[int, int]


@dataclass(slots=True)
class State:
    """What the server can lose."""

    seal: Seal | None = None
    lock: Lock | None = None
    owners: dict[int, Owner] = field(default_factory=dict)
    claimed: dict[int, int] = field(default_factory=dict)
    floor: dict[int, int] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """Give what matters to a story."""
        owners = " ".join(f"{key}→p{o.partition}@{o.offset}" for key, o in self.owners.items())
        return f"{self.seal}, owners {owners}, claimed {self.claimed}, floor {self.floor}"

    def copy(self) -> "State":
        """Give a state that goes its own way."""
        return State(
            self.seal,
            self.lock,
            self.owners.copy(),
            self.claimed.copy(),
            self.floor.copy(),
            self.epochs.copy(),
        )


class Ledger:
    """One shard on one server. Each method is one atomic script."""

    def __init__(
        self, switches: Switches, clock: Callable[[], int], on_settled: Callable[[Record], None]
    ) -> None:
        self.on = switches
        self.clock = clock
        self.on_settled = on_settled
        self.identity = 1
        self.nonces = 0
        self.stamps = 0
        self.opened_at = 0
        self.state = State()
        self.past = [State()]

    # --- scripts --------------------------------------------------------------------------

    def take(self, partition: int) -> int:
        """Bump the epoch of a partition."""
        state = self._change()
        epoch = next_epoch(state.epochs.get(partition, 0), self.clock())
        state.epochs[partition] = epoch
        return epoch

    def claim(self, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch, all or nothing."""
        seal = self.state.seal
        sealed = seal is not None and seal.identity == self.identity
        for claims in batch:
            admission = admit(
                sealed=sealed,
                epoch=claims.epoch,
                newest_epoch=self.state.epochs.get(claims.partition, 0) if self.on.epochs else 0,
                start=claims.start if self.on.contiguous_start else 0,
                claimed=self.state.claimed.get(claims.partition, 0),
            )
            if admission is not Admission.OPEN:
                return Refused(admission, claims.partition)
        assert seal is not None
        self._change()
        return Claimed(seal, [v for claims in batch for v in self._claim_partition(claims)])

    def confirm(self, seal: Seal) -> bool:
        """Tell whether the seal is still the one that claims were made under."""
        return self.state.seal == seal and seal.identity == self.identity

    def lock(self, token: int) -> Recovery | Locked:
        """Take, or hold on to, the recovery lock."""
        held = self.state.lock
        if held is not None and held.token != token:
            return Locked(held)
        state = self._change()
        if held is None:
            self.stamps += self.on.stamped_lock
            held = state.lock = Lock(token, self.stamps)
        begin = state.floor if self.on.facts_overrule and self.on.audit else state.claimed
        return Recovery(self.identity, held, begin.copy())

    def reassert(
        self, recovery: Recovery, partition: int, end: int, records: Sequence[tuple[Record, bool]]
    ) -> bool:
        """Put owners of a stretch back; each record comes with whether the audit names it."""
        if self.on.reassert_checks and not self._holds(recovery):
            return False
        state = self._change()
        for record, audited in records:
            if record.key is not None:
                self._put_back(record.key, _owner(record), audited)
        state.claimed[partition] = max(state.claimed.get(partition, 0), end)
        return True

    def open(self, recovery: Recovery, frontiers: Mapping[int, int]) -> bool:
        """Seal anew, unless a seal of this identity stands, and give the lock back."""
        if self.on.open_checks_identity and recovery.identity != self.identity:
            return False
        if self.on.open_checks_lock and recovery.lock != self.state.lock:
            return False
        state = self._change()
        if state.seal is None or state.seal.identity != self.identity:
            self.nonces += 1
            self.opened_at = self.clock()
            state.seal = Seal(self.identity, self.nonces)
        for partition, frontier in frontiers.items():
            state.floor[partition] = max(state.floor.get(partition, 0), frontier)
            state.claimed[partition] = max(state.claimed.get(partition, 0), frontier)
        state.lock = None
        return True

    def _claim_partition(self, claims: Claims) -> list[Verdict]:
        partition = claims.partition
        state = self.state
        # After a loss nobody is fenced until the newest epoch is heard of again.
        state.epochs[partition] = max(state.epochs.get(partition, 0), claims.epoch)
        settled_below = claims.frontier
        if self.on.floor:
            settled_below = max(settled_below, state.floor.get(partition, 0))
            state.floor[partition] = settled_below
        verdicts = [self._claim_record(record, settled_below) for record in claims.records]
        state.claimed[partition] = max(state.claimed.get(partition, 0), claims.end)
        return verdicts

    def _claim_record(self, record: Record, settled_below: int) -> Verdict:
        owner = None if record.key is None else self.state.owners.get(record.key)
        answer = verdict(
            partition=record.partition,
            offset=record.offset,
            settled_below=settled_below,
            keyed=record.key is not None,
            fingerprint=record.fingerprint,
            owner=owner,
        )
        if answer is Verdict.SETTLED:
            self.on_settled(record)
        if answer in HANDLED and record.key is not None:
            self.state.owners[record.key] = _owner(record)
        return answer

    def _put_back(self, key: int, settled: Owner, audited: bool) -> None:
        owners = self.state.owners
        owner = owners.get(key)
        if not (self.on.facts_overrule and self.on.audit):
            if reasserts(audited=audited, owner=owner):
                owners[key] = settled
            return
        after = restored(settled=settled, audited=audited, owner=owner)
        if after is None:
            owners.pop(key, None)
        else:
            owners[key] = after

    def _holds(self, recovery: Recovery) -> bool:
        return recovery.identity == self.identity and recovery.lock == self.state.lock

    def _change(self) -> State:
        self.past.append(self.state.copy())
        return self.state

    # --- what befalls the server ----------------------------------------------------------

    def restart(self) -> None:
        """Lose nothing, but become another."""
        self.identity += 1

    def flush(self) -> None:
        """Lose everything, and stay the same server."""
        self._go_back(0)

    def roll_back(self, index: int) -> None:
        """Return to an earlier state, as another server."""
        self.identity += 1
        self._go_back(index)

    def expire_lock(self) -> None:
        """Let the recovery lock run out."""
        self.state.lock = None

    def _go_back(self, index: int) -> None:
        self._change()
        self.state = self.past[index].copy()
        if not self.on.old_timelines:
            del self.past[index + 1 :]


def _owner(record: Record) -> Owner:
    return Owner(record.partition, record.offset, record.fingerprint)
