"""The ledger in this process's memory: the rules themselves, for tests and for trying out."""

import copy
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from eos.core import rules
from eos.core.leases import WHOLE, Asked, Leases, lease
from eos.core.ports import Assertion, Claimed, Claims, Known, Mark, Recovery, Refused, Taken
from eos.core.ports.inspection import GenerationState, LedgerState, PartitionState
from eos.core.record import Shard
from eos.core.rules import Admission, Gap, Owner, Verdict


@dataclass(slots=True)
class _State:
    """What the ledger holds of one shard; times in seconds of log time."""

    seal: str | None = None
    recovery: Leases | None = None
    epochs: dict[int, int] = field(default_factory=dict)
    claimed: dict[int, int] = field(default_factory=dict)
    floors: dict[int, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    opened: dict[int, int] = field(default_factory=dict)
    """Plain tier: the log's ends at the last opening; owners below them are hearsay."""
    last: dict[int, int] = field(default_factory=dict)
    passed: dict[int, int] = field(default_factory=dict)
    generations: dict[int, dict[bytes, Owner]] = field(default_factory=dict)
    """By where they end."""
    gaps: dict[int, list[Gap]] = field(default_factory=dict)
    """By partition."""

    def disown(self, digest: bytes) -> None:
        for owners in self.generations.values():
            owners.pop(digest, None)
        self.generations = {end: owners for end, owners in self.generations.items() if owners}

    def is_void(self, owner: Owner | None) -> bool:
        return owner is not None and rules.is_void(owner, self.gaps.get(owner.partition, []))

    def owner(self, digest: bytes) -> Owner | None:
        for owners in self.generations.values():
            if digest in owners:
                return owners[digest]
        return None


Snapshot = dict[Shard, _State]


class MemoryLedger:
    """A `Ledger` that forgets everything with the process, or when a test tells it to.

    Args:
        window: For how long an owner is kept at least, in seconds of log time.
        generation: Length of a generation, in seconds; an owner is kept for at most this much
            longer than the window. Default: the window.
        clock: Gives the time in seconds since the epoch.
    """

    def __init__(
        self,
        window: int,
        *,
        generation: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._window = window
        self._generation = generation or window
        self._clock = clock
        self._mutex = threading.Lock()
        self._counter = itertools.count(1)
        self._identity = f"memory-{next(self._counter)}"
        self._shards: Snapshot = {}

    # --- what a real ledger may suffer ----------------------------------------------------

    def lose(self) -> None:
        """Forget everything, and go on as the same server: a FLUSHALL."""
        with self._mutex:
            self._shards = {}

    def restart(self) -> None:
        """Become another server that has the same data."""
        with self._mutex:
            self._identity = f"memory-{next(self._counter)}"

    def snapshot(self) -> Snapshot:
        """Give the data as they are now, for `restore`."""
        with self._mutex:
            return copy.deepcopy(self._shards)

    def restore(self, snapshot: Snapshot) -> None:
        """Restart from older data: what was written since is lost."""
        self.restart()
        with self._mutex:
            self._shards = copy.deepcopy(snapshot)

    # --- the port -------------------------------------------------------------------------

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over: bump their epochs. Works on a closed shard too."""
        with self._mutex:
            state = self._state(shard)
            now_us = int(self._clock() * 1_000_000)
            previous = {p: state.epochs.get(p, 0) for p in partitions}
            for p in partitions:
                state.epochs[p] = rules.next_epoch(state.epochs.get(p, 0), now_us)
            return {
                p: Taken(
                    state.epochs[p],
                    state.claimed.get(p, 0),
                    state.floors.get(p, 0),
                    state.begun.get(p, 0),
                    previous[p],
                )
                for p in partitions
            }

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records, all or nothing."""
        with self._mutex:
            state = self._state(shard)
            if not self._sealed(state):
                return Refused(Admission.CLOSED)
            for claims in batch:
                admission = rules.admit(
                    sealed=True,
                    epoch=claims.epoch,
                    newest_epoch=state.epochs.get(claims.partition, 0),
                    start=claims.start,
                    claimed=state.claimed.get(claims.partition, 0),
                )
                if admission is not Admission.OPEN:
                    return Refused(admission, claims.partition)
            verdicts: list[Verdict] = []
            owners: dict[int, Owner] = {}
            known = {c.partition: self._claim(state, c, verdicts, owners) for c in batch}
            hearsay = frozenset(
                index
                for index, owner in owners.items()
                if owner.offset < state.opened.get(owner.partition, 0)
            )
            return Claimed(state.seal or "", verdicts, owners, known, hearsay)

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal is still the one that claims were made under."""
        with self._mutex:
            state = self._state(shard)
            return self._sealed(state) and state.seal == seal

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Note that the records below the mark may begin."""
        with self._mutex:
            state = self._state(shard)
            if self._admits(state, seal, [mark]) is not Admission.OPEN:
                return False
            state.begun[mark.partition] = max(state.begun.get(mark.partition, 0), mark.offset)
            return True

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on, all or none of them; never back."""
        with self._mutex:
            state = self._state(shard)
            admission = self._admits(state, seal, marks)
            if admission is Admission.OPEN:
                for p, _, frontier in marks:
                    state.floors[p] = max(state.floors.get(p, 0), frontier)
            return admission

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        """Take floors, and what has begun, back to where a replay begins; never forward."""
        with self._mutex:
            state = self._state(shard)
            if any(epoch < state.epochs.get(p, 0) for p, epoch, _ in marks):
                return False
            for p, _, offset in marks:
                state.floors[p] = min(state.floors.get(p, 0), offset)
                state.begun[p] = min(state.begun.get(p, 0), offset)
            return True

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        """Note that nothing is delivered any more from `start` up to a mark."""
        with self._mutex:
            state, p = self._state(shard), mark.partition
            if mark.epoch < state.epochs.get(p, 0):
                return False
            self._add_gap(state, p, Gap(start, mark.offset))
            if start <= state.claimed.get(p, 0) < mark.offset:
                state.claimed[p] = mark.offset
            return True

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        """Take, or hold on to, the shard as a whole, or a partition of it, to recover it."""
        with self._mutex:
            state = self._state(shard)
            now, sealed = self._clock(), self._sealed(state)
            begun = Leases(f"{self._identity}/{next(self._counter)}")
            recovery, partition = begun, None
            if partitions is None or not sealed:
                asked = Asked(token, partitions, now + seconds)
                answer = lease(self._recovery(state), begun, asked, now)
                if answer is None:
                    return None
                recovery, partition = answer
                state.recovery = recovery
            return Recovery(
                token=token,
                identity=recovery.identity,
                sealed=sealed,
                claimed={p: end for p, end in state.claimed.items() if end},
                floors={p: floor for p, floor in state.floors.items() if floor},
                partition=partition,
                done=frozenset(recovery.done),
            )

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back, and count the stretch as claimed."""
        with self._mutex:
            state = self._state(shard)
            if not self._holds(state, recovery):
                return False
            p = assertion.partition
            for gap in assertion.gaps:
                self._add_gap(state, p, gap)
            for n, (offset, digest, fingerprint, stamp) in enumerate(
                zip(
                    assertion.offsets,
                    assertion.digests,
                    assertion.fingerprints,
                    assertion.times,
                    strict=True,
                )
            ):
                time_of = self._file(state, p, stamp)
                if not digest:
                    continue
                read, before = Owner(p, offset, fingerprint), state.owner(digest)
                redriven, void = assertion.redriven.get(n), state.is_void(before)
                after = _put_back(read, before, assertion, redriven, void=void)
                if after != before:
                    state.disown(digest)
                    if after is not None:
                        self._own(state, time_of, digest, after)
            state.claimed[p] = max(state.claimed.get(p, 0), assertion.end)
            if assertion.settled:
                state.floors[p] = max(state.floors.get(p, 0), assertion.floor)
            self._finish(state, recovery, assertion)
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
        with self._mutex:
            state = self._state(shard)
            if self._sealed(state) and (state.seal or "").startswith(f"{recovery.identity}/"):
                return True
            if not self._may_open(state, recovery, partitions):
                return False
            if not self._sealed(state):
                state.seal = f"{recovery.identity}/{recovery.token}"
                state.opened = {}
            for p, end in begun.items():
                state.begun[p] = max(state.begun.get(p, 0), end)
                state.opened[p] = max(state.opened.get(p, 0), end)
            for p, frontier in frontiers.items():
                state.floors[p] = max(state.floors.get(p, 0), frontier)
                state.claimed[p] = max(state.claimed.get(p, 0), frontier)
            state.recovery = None
            return True

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        """Tell how far partitions have come in log time, and drop what no window needs."""
        with self._mutex:
            state = self._state(shard)
            now = int(self._clock())
            for p, told in frontier_times.items():
                # A clock that runs ahead would drop everything: clamp what we are told as well.
                state.passed[p] = rules.log_time(told, state.passed.get(p, 0), now)
                # What comes later stands later in the log: never file it under what is gone.
                state.last[p] = max(state.last.get(p, 0), state.passed[p])
            if all(p in state.passed for p in range(partitions)):
                times = [state.passed[p] for p in range(partitions)]
                for end in list(state.generations):
                    if rules.droppable(end, self._window, times):
                        del state.generations[end]
            return len(state.generations)

    def look(self, shard: Shard) -> LedgerState:
        """Tell what is known of a shard."""
        with self._mutex:
            state = self._state(shard)
            known = {*state.epochs, *state.claimed, *state.floors, *state.begun}
            lists = (state.epochs, state.claimed, state.floors, state.begun)
            recovery = self._recovery(state)
            return LedgerState(
                self._sealed(state),
                self._recovered(state),
                {p: PartitionState(*(each.get(p, 0) for each in lists)) for p in known},
                [GenerationState(end, len(own)) for end, own in sorted(state.generations.items())],
                frozenset(recovery.done if recovery else ()),
            )

    def unseal(self, shard: Shard) -> None:
        """Let nobody claim before the shard was recovered."""
        with self._mutex:
            state = self._state(shard)
            state.seal = state.recovery = None

    def purge(self, shard: Shard) -> bool:
        """Delete all that is known of a shard."""
        with self._mutex:
            if self._recovered(self._state(shard)):
                return False
            self._shards.pop(shard, None)
            return True

    def owners(self, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
        """Tell who owns keys."""
        with self._mutex:
            state = self._state(shard)
            found = {digest: state.owner(digest) for digest in digests}
            return {digest: owner for digest, owner in found.items() if owner}

    def close(self) -> None:
        """Do nothing: there is no connection."""

    # --- behind it ------------------------------------------------------------------------

    def _state(self, shard: Shard) -> _State:
        return self._shards.setdefault(shard, _State())

    def _sealed(self, state: _State) -> bool:
        return state.seal is not None and state.seal.startswith(f"{self._identity}/")

    def _recovery(self, state: _State) -> Leases | None:
        """Give the recovery that runs against this server; not one that came with its data."""
        found = state.recovery
        return found if found and found.identity.startswith(f"{self._identity}/") else None

    def _recovered(self, state: _State) -> bool:
        """Tell whether anybody recovers a part of it now."""
        found, now = self._recovery(state), self._clock()
        return found is not None and any(found.holder(part, now) for part in found.held)

    def _holds(self, state: _State, recovery: Recovery) -> bool:
        found = self._recovery(state)
        held = (recovery.identity, recovery.token, recovery.partition)
        return found is not None and found.holds(*held, self._clock())

    def _may_open(self, state: _State, recovery: Recovery, partitions: int) -> bool:
        found = self._recovery(state)
        if partitions:
            return found is not None and found.complete(recovery.identity, partitions)
        return recovery.partition == WHOLE and self._holds(state, recovery)

    def _finish(self, state: _State, recovery: Recovery, assertion: Assertion) -> None:
        if assertion.done and state.recovery and recovery.partition is not None:
            state.recovery.finish(recovery.partition)

    def _admits(self, state: _State, seal: str, marks: Sequence[Mark]) -> Admission:
        if not self._sealed(state) or state.seal != seal:
            return Admission.CLOSED
        if any(epoch < state.epochs.get(p, 0) for p, epoch, _ in marks):
            return Admission.FENCED
        return Admission.OPEN

    def _claim(
        self,
        state: _State,
        claims: Claims,
        verdicts: list[Verdict],
        owners: dict[int, Owner],
    ) -> Known:
        p = claims.partition
        # After a loss nobody is fenced, until the newest epoch is heard of again: remember it.
        state.epochs[p] = max(state.epochs.get(p, 0), claims.epoch)
        state.floors[p] = max(state.floors.get(p, 0), claims.frontier)
        state.claimed[p] = max(state.claimed.get(p, 0), claims.end)
        known = Known(state.floors[p], state.begun.get(p, 0))
        state.begun[p] = max(known.begun, claims.begun)
        for n, (offset, digest, fingerprint, stamp) in enumerate(
            zip(claims.offsets, claims.digests, claims.fingerprints, claims.times, strict=True)
        ):
            time_of = self._file(state, p, stamp)
            owner = state.owner(digest) if digest else None
            verdict = rules.verdict(
                partition=p,
                offset=offset,
                settled_below=state.floors[p],
                keyed=bool(digest),
                fingerprint=fingerprint,
                owner=owner,
                redriven=claims.redriven.get(n),
                void=state.is_void(owner),
            )
            if verdict is Verdict.FRESH and digest:
                if owner:
                    state.disown(digest)
                self._own(state, time_of, digest, Owner(p, offset, fingerprint))
            if owner and verdict in (Verdict.DUPLICATE, Verdict.CONFLICT):
                owners[len(verdicts)] = owner
            verdicts.append(verdict)
        return known

    def _file(self, state: _State, partition: int, stamp: int) -> int:
        last = state.last.get(partition, 0)
        state.last[partition] = rules.log_time(stamp, last, int(self._clock()))
        return state.last[partition]

    def _add_gap(self, state: _State, partition: int, gap: Gap) -> None:
        now = int(self._clock())
        oldest = min(state.generations, default=self._generation) - self._generation
        known = state.gaps.get(partition, [])
        state.gaps[partition] = rules.with_gap(known, gap._replace(time=now), oldest)

    def _own(self, state: _State, time_of: int, digest: bytes, owner: Owner) -> None:
        end = (time_of // self._generation + 1) * self._generation
        state.generations.setdefault(end, {})[digest] = owner


def _put_back(
    read: Owner,
    owner: Owner | None,
    assertion: Assertion,
    redriven: tuple[int, int] | None,
    *,
    void: bool,
) -> Owner | None:
    """Give who owns the key of a position that is read again."""
    audited = read.offset in assertion.audited
    if assertion.settled:
        return rules.restored(settled=read, audited=audited, owner=owner)
    told = {"audited": audited, "void": void}
    return read if rules.reasserts(owner=owner, redriven=redriven, **told) else owner
