"""The ledger of the model: decides by the project's rule functions, and forgets on demand."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from eos.core.ports import Assertion
from eos.core.rules import (
    HANDLED,
    Admission,
    Gap,
    Owner,
    Verdict,
    admit,
    is_void,
    next_epoch,
    reasserts,
    restored,
    verdict,
    with_gap,
)
from tests.simulation.calls import Claimed, Claims, Lock, Locked, Recovery, Refused, Seal
from tests.simulation.kafka import Record
from tests.simulation.switches import Switches


@dataclass(slots=True)
class State:
    """What the server can lose."""

    seal: Seal | None = None
    lock: Lock | None = None
    owners: dict[int, Owner] = field(default_factory=dict)
    claimed: dict[int, int] = field(default_factory=dict)
    floor: dict[int, int] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    gaps: dict[int, list[Gap]] = field(default_factory=dict)

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
            self.gaps.copy(),
        )

    def is_void(self, owner: Owner | None) -> bool:
        """Tell whether nothing is delivered at an owner's position any more."""
        return owner is not None and is_void(owner, self.gaps.get(owner.partition, []))


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
        for claims in batch:
            admission = admit(
                sealed=self._sealed(),
                epoch=claims.epoch,
                newest_epoch=self.state.epochs.get(claims.partition, 0) if self.on.epochs else 0,
                start=claims.start if self.on.contiguous_start else 0,
                claimed=self.state.claimed.get(claims.partition, 0),
            )
            if admission is not Admission.OPEN:
                return Refused(admission, claims.partition)
        assert seal is not None
        self._change()
        owners: list[Owner | None] = []
        verdicts = [v for claims in batch for v in self._claim_partition(claims, owners)]
        floors = {claims.partition: self.state.floor.get(claims.partition, 0) for claims in batch}
        return Claimed(seal, verdicts, owners, floors)

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
        return Recovery(self.identity, held, begin.copy(), self._sealed())

    def reassert(self, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners of a stretch back."""
        if self.on.reassert_checks and not self._holds(recovery):
            return False
        state, partition = self._change(), assertion.partition
        for gap in assertion.gaps if self.on.gap_recovered else ():
            state.gaps[partition] = with_gap(state.gaps.get(partition, []), gap, 0)
        read = zip(assertion.offsets, assertion.digests, assertion.fingerprints, strict=True)
        for n, (offset, digest, fingerprint) in enumerate(read):
            if digest:
                self._put_back(int(digest), Owner(partition, offset, fingerprint), assertion, n)
        state.claimed[partition] = max(state.claimed.get(partition, 0), assertion.end)
        return True

    def sealed(self) -> bool:
        """Tell whether it may be claimed in."""
        return self._sealed()

    def void(self, partition: int, epoch: int, gap: range) -> bool:
        """Note that nothing is delivered in a gap any more; False if a newer epoch exists."""
        if epoch < self.state.epochs.get(partition, 0):
            return False
        state, known = self._change(), self.state.gaps.get(partition, [])
        state.gaps[partition] = with_gap(known, Gap(gap.start, gap.stop), 0)
        if gap.start <= state.claimed.get(partition, 0) < gap.stop:
            state.claimed[partition] = gap.stop
        return True

    def unseal(self) -> bool:
        """Let nobody claim before the shard was recovered."""
        state = self._change()
        state.seal = state.lock = None
        return True

    def floors(self) -> dict[int, int]:
        """Give the highest frontier that it was told, by partition."""
        return self.state.floor.copy()

    def owner(self, key: int) -> tuple[Owner | None]:
        """Give who owns a key."""
        return (self.state.owners.get(key),)

    def rewind(self, marks: Mapping[int, tuple[int, int]]) -> bool:
        """Take floors back; by partition, the epoch under which, and to where."""
        if any(epoch < self.state.epochs.get(p, 0) for p, (epoch, _) in marks.items()):
            return False
        state = self._change()
        for partition, (_, offset) in marks.items():
            state.floor[partition] = min(state.floor.get(partition, 0), offset)
        return True

    def open(self, recovery: Recovery, frontiers: Mapping[int, int]) -> bool:
        """Seal anew, unless a seal of this identity stands, and give the lock back."""
        if self.on.open_checks_identity and recovery.identity != self.identity:
            return False
        if self.on.open_checks_lock and recovery.lock != self.state.lock:
            return False
        state = self._change()
        if not self._sealed():
            self.nonces += 1
            self.opened_at = self.clock()
            state.seal = Seal(self.identity, self.nonces)
        for partition, frontier in frontiers.items():
            state.floor[partition] = max(state.floor.get(partition, 0), frontier)
            state.claimed[partition] = max(state.claimed.get(partition, 0), frontier)
        state.lock = None
        return True

    def move(self, key: int, place: tuple[int, int], after: Owner | None) -> None:
        """Let a key that this place owns have another owner, or none: what no tool should do."""
        owner = self.state.owners.get(key)
        if owner is None or owner[:2] != place:
            return
        state = self._change()
        if after is None:
            del state.owners[key]
        else:
            state.owners[key] = after

    def _claim_partition(self, claims: Claims, owners: list[Owner | None]) -> list[Verdict]:
        partition = claims.partition
        state = self.state
        # After a loss nobody is fenced until the newest epoch is heard of again.
        state.epochs[partition] = max(state.epochs.get(partition, 0), claims.epoch)
        settled_below = claims.frontier
        if self.on.floor:
            settled_below = max(settled_below, state.floor.get(partition, 0))
            state.floor[partition] = settled_below
        verdicts = [self._claim_record(r, settled_below, owners) for r in claims.records]
        state.claimed[partition] = max(state.claimed.get(partition, 0), claims.end)
        return verdicts

    def _claim_record(
        self, record: Record, settled_below: int, owners: list[Owner | None]
    ) -> Verdict:
        owner = None if record.key is None else self.state.owners.get(record.key)
        redriven = record.redriven if self.on.claim_moves else None
        if redriven and owner and not self.on.exact_owner:
            redriven = owner[:2]
        answer = verdict(
            partition=record.partition,
            offset=record.offset,
            settled_below=settled_below,
            keyed=record.key is not None,
            fingerprint=record.fingerprint,
            owner=owner,
            redriven=redriven,
            void=self.state.is_void(owner),
        )
        owners.append(owner if answer in {Verdict.DUPLICATE, Verdict.CONFLICT} else None)
        if answer is Verdict.SETTLED:
            self.on_settled(record)
        if answer in HANDLED and record.key is not None:
            self.state.owners[record.key] = owner_of(record)
        return answer

    def _put_back(self, key: int, settled: Owner, assertion: Assertion, n: int) -> None:
        owners = self.state.owners
        owner, audited = owners.get(key), settled.offset in assertion.audited
        if not (assertion.settled and self.on.facts_overrule and self.on.audit):
            redriven = assertion.redriven.get(n)
            void = self.state.is_void(owner)
            if reasserts(audited=audited, owner=owner, redriven=redriven, void=void):
                owners[key] = settled
            return
        after = restored(settled=settled, audited=audited, owner=owner)
        if after is None:
            owners.pop(key, None)
        else:
            owners[key] = after

    def _sealed(self) -> bool:
        return self.state.seal is not None and self.state.seal.identity == self.identity

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

    def forget(self, keys: Collection[int], frontiers: Sequence[int]) -> None:
        """Let the window pass, once frontiers were told: keys are dropped with their generation."""
        state = self._change()
        state.floor.update(enumerate(frontiers))
        for key in keys:
            state.owners.pop(key, None)

    def dump(self) -> int:
        """Give what `roll_back` needs to come back to here."""
        self._change()
        return len(self.past) - 1

    def expire_lock(self) -> None:
        """Let the recovery lock run out."""
        self.state.lock = None

    def _go_back(self, index: int) -> None:
        self._change()
        self.state = self.past[min(index, len(self.past) - 1)].copy()
        if not self.on.old_timelines:
            del self.past[index + 1 :]


def owner_of(record: Record) -> Owner:
    """Give a record as the owner of its key."""
    return Owner(record.partition, record.offset, record.fingerprint)
