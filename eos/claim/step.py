"""Asks the ledger, one call per batch and shard, and keeps what is to be handled."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from eos.claim.away import UNCHECKED
from eos.claim.keys import Identify
from eos.consume.lanes import Judged, Lane, Slice
from eos.core import events, rules
from eos.core.errors import AbortableError, FatalError
from eos.core.events import Emit
from eos.core.keys import sender
from eos.core.ports import Claimed, Claims, Effects, Known, Ledger, Mark, Refused, Suppressed
from eos.core.record import Record, Shard
from eos.core.rules import HANDLED, Admission, Owner, Verdict
from eos.core.settings import Settings


class Recover(Protocol):
    """Puts owners back into the ledger, from the log."""

    def __call__(self, topic: str, cause: str, begins: Mapping[int, int]) -> int:
        """Rebuild the ledger of a topic; give how many records were read again.

        Args:
            topic: Its name.
            cause: `closed` or `gap`.
            begins: Where the group begins in partitions that it had settled nothing of.
        """

    def load(self, topic: str, replayed: Mapping[int, range]) -> int:
        """Put back what an open ledger has forgotten of what is to be handled again."""


Seals = dict[str, tuple[Shard, str]]
"""By topic, the shard and the seal under which records were claimed."""


class Claim:
    """The second step of the line.

    Args:
        ledger: Gives the verdicts.
        identify: Reads and digests idempotency keys.
        recover: Rebuilds the ledger of a topic from the log.
        begin: Lets it stand in the log that lanes are begun.
        settings: Say what becomes of records without a key, and of conflicts.
        emit: Told of the verdicts.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        identify: Identify,
        recover: Recover,
        begin: Callable[[Sequence[Lane]], None],
        settings: Settings,
        emit: Emit,
    ) -> None:
        self._ledger = ledger
        self._identify = identify
        self._recover = recover
        self._begin = begin
        self._missing_key = settings.missing_key
        self._conflict = settings.conflict
        self._in_doubt = settings.in_doubt
        self._emit = emit
        self._sealed: Seals = {}

    def __call__(self, batch: list[Slice]) -> list[Slice]:
        """Leave in each slice the records to be handled, and those to be rejected.

        Raises:
            AbortableError: The ledger lost claims, was recovered, or somebody took over.
            FatalError: A policy says to stop.
            RetriableError: The ledger is away.
        """
        for topic in {slice_.lane.partition[0] for slice_ in batch}:
            slices = [s for s in batch if s.lane.partition[0] == topic]
            if slices[0].lane.joined:
                self._begin([slice_.lane for slice_ in slices])
                self._load(topic, slices)
            else:
                self._claim(topic, slices)
        return batch

    def inside(self, effects: Effects, slices: list[Slice]) -> None:
        """Do the same where claims join the transaction of the effects, for one topic.

        Raises as `Effects.claim` does, and `FatalError` as a call.
        """
        batch = [self._claims(slice_) for slice_ in slices]
        answer = effects.claim(slices[0].lane.shard, batch)
        self._sort(slices[0].lane.partition[0], slices, batch, answer)

    def release_seals(self) -> Seals:
        """Give the seals of all claims since the last call, and forget them."""
        seals, self._sealed = self._sealed, {}
        return seals

    def confirm(self, seals: Seals) -> None:
        """See that every seal is still the one that claims were made under.

        Raises:
            AbortableError: One is not: claims may be lost, and a copy handled by somebody else.
        """
        for topic, (shard, seal) in seals.items():
            if not self._ledger.confirm(shard, seal):
                raise AbortableError(f"the ledger of {topic} was re-sealed", "ledger_resealed")

    def _claim(self, topic: str, slices: list[Slice]) -> None:
        shard = slices[0].lane.shard
        if new := [slice_.lane for slice_ in slices if not slice_.lane.ours]:
            self._begin_lanes(topic, shard, slices, new)
        self._load(topic, slices)
        batch = [self._claims(slice_) for slice_ in slices]
        answer = self._ledger.claim(shard, batch)
        if isinstance(answer, Refused):
            self._refused(topic, slices, answer)
        else:
            self._check_floors(topic, shard, slices, answer)
            if not (slices[0].lane.plain or slices[0].lane.inbox):
                self._check_seal(topic, shard, answer.seal)
            self._sort(topic, slices, batch, answer)

    def _begin_lanes(self, topic: str, shard: Shard, slices: list[Slice], new: list[Lane]) -> None:
        """Let it stand in the log that lanes are begun, before anything of them is claimed.

        But not before the ledger is open: its first recovery would find them begun, and take
        all that waits in them for in doubt. And not after the claim:

        1. A, the first record of a lane, is claimed; B, a copy on another one, is suppressed in
           favour of it, and settled. The worker dies, and the ledger is lost.
        2. Recovery takes B for the owner. A's lane was never begun, as far as the log tells, so
           A is not in doubt, but a duplicate of B. The record is lost.
        """
        answer = self._ledger.claim(shard, [])
        if isinstance(answer, Refused) and topic in self._sealed:
            self._refused(topic, slices, answer)
        elif isinstance(answer, Refused) and self._recover(topic, "closed", {}):
            # While records were read again, nothing flowed here.
            raise AbortableError(f"the ledger of {topic} was recovered", "ledger_closed")
        self._begin(new)

    def _load(self, topic: str, slices: Sequence[Slice]) -> None:
        """Let the ledger know what it may have forgotten, before that is handled again."""
        lanes = [slice_.lane for slice_ in slices if not slice_.lane.loaded]
        if not lanes:
            return
        again = {
            lane.partition[1]: range(lane.frontier, lane.replay.peak)
            for lane in lanes
            if lane.replay is not None
        }
        self._recover.load(topic, again)
        for lane in lanes:
            lane.loaded = True
        # While records were read again, nothing flowed here.
        raise AbortableError(f"the owners of a replay of {topic} were put back", "replay")

    def _claims(self, slice_: Slice) -> Claims:
        lane = slice_.lane
        begun = slice_.end if lane.plain and self._in_doubt == "retry" else 0
        claims = Claims(
            lane.partition[1], lane.epoch, lane.frontier, slice_.start, slice_.end, begun
        )
        if slice_.records:
            self._identify(slice_.records, claims)
        else:
            topic_id = lane.shard.topic_id
            self._identify.headers(slice_.offsets, slice_.messages, claims, topic_id)
        return claims

    def _refused(self, topic: str, slices: list[Slice], answer: Refused) -> None:
        """Do what brings the claims to be taken next time."""
        if answer.why is Admission.FENCED:
            raise AbortableError(
                f"{topic}[{answer.partition}] has a newer epoch than ours", "ledger_fenced"
            )
        if answer.why is Admission.CLOSED:
            self._recover(topic, "closed", {})
            raise AbortableError(f"the ledger of {topic} was recovered", "ledger_closed")
        slice_ = next(s for s in slices if s.lane.partition[1] == answer.partition)
        if slice_.start == slice_.lane.frontier:
            # Nothing of ours is pending below: the ledger itself lacks what was settled.
            self._recover(topic, "gap", {answer.partition: slice_.lane.first})
        raise AbortableError(
            f"claims of {topic}[{answer.partition}] below {slice_.start} are lost", "ledger_gap"
        )

    def _check_floors(
        self, topic: str, shard: Shard, slices: Sequence[Slice], answer: Claimed
    ) -> None:
        """A floor above where a replay is comes from before it: take it back.

        An older dump of the ledger has it; or a worker that was thought dead told it to a ledger
        that had just been lost. What is to be handled again would be swallowed as settled.
        """
        stale = [
            Mark(lane.partition[1], lane.epoch, lane.frontier)
            for lane in (slice_.lane for slice_ in slices)
            if not lane.plain
            and lane.replayed(lane.frontier)
            and answer.known[lane.partition[1]].floor > lane.frontier
        ]
        if stale:
            self._ledger.rewind(shard, stale)
            raise AbortableError(f"the ledger had {topic} settled from before a replay", "replay")

    def _check_seal(self, topic: str, shard: Shard, seal: str) -> None:
        """All claims of one transaction are made under one seal."""
        if self._sealed.setdefault(topic, (shard, seal))[1] != seal:
            raise AbortableError(f"the ledger of {topic} was re-sealed", "ledger_resealed")

    def _sort(self, topic: str, slices: list[Slice], batch: list[Claims], answer: Claimed) -> None:
        """Keep what is to be handled, reject what a policy rejects, tell the rest."""
        at = unkeyed = in_doubt = 0
        for slice_, claims in zip(slices, batch, strict=True):
            end = at + len(claims.offsets)
            known = answer.known[claims.partition]
            slice_.seal = answer.seal
            _remember_marks(slice_.lane, claims, known, answer.seal)
            without = slice_.read - len(claims.offsets)
            simple = (
                answer.verdicts[at:end].count(Verdict.FRESH) == end - at
                and slice_.start >= max(known.floor, slice_.lane.begun)
                and not slice_.lane.replayed(slice_.start)
                and not (without and self._missing_key != "position")
                and not claims.redriven
            )
            if not simple:
                places = dict(zip(claims.offsets, range(at, end), strict=True))
                digests = dict(zip(claims.offsets, claims.digests, strict=True))
                records = slice_.complete()
                for record in records:
                    if not record.idempotency_key:
                        self._identify.name(record)
                slice_.judged = [
                    _judge(
                        slice_.lane,
                        record,
                        places.get(record.offset),
                        digests.get(record.offset, b""),
                        answer,
                        known,
                    )
                    for record in records
                ]
                in_doubt += sum(judged.in_doubt for judged in slice_.judged)
            at, unkeyed = end, unkeyed + without
        unchecked = sum(s.read for s in slices) if answer.seal == UNCHECKED else 0
        tallies = [slice_.tally for slice_ in slices]
        self._emit(events.Claimed(tallies, topic, unkeyed, in_doubt, unchecked))
        for slice_, claims in zip(slices, batch, strict=True):
            if slice_.judged is not None:
                read = slice_.records
                self._select(slice_, slice_.judged)
                if not slice_.lane.plain:
                    slice_.suppressed = [
                        *_suppressed(slice_, read, slice_.judged, claims),
                        *_taken_over(read, slice_.judged, claims),
                    ]

    def _select(self, slice_: Slice, judged: list[Judged]) -> None:
        """Keep in a slice what is to be handled, in the order of the policies."""
        kept = []
        for record, (verdict, keyed, _, in_doubt, _) in zip(slice_.records, judged, strict=True):
            record.in_doubt = in_doubt
            conflict = verdict is Verdict.CONFLICT
            if not (in_doubt or conflict or verdict in HANDLED):
                continue
            if conflict and not in_doubt and self._conflict != "handle":
                self._reject(slice_, record, "conflict", self._conflict)
            elif not keyed and self._missing_key != "position":
                self._reject(slice_, record, "missing_key", self._missing_key)
            elif in_doubt and self._in_doubt == "dead_letter":
                self._reject(slice_, record, "in_doubt", self._in_doubt)
            elif not (in_doubt and self._in_doubt == "skip"):
                kept.append(record)
        slice_.records = kept

    @staticmethod
    def _reject(slice_: Slice, record: Record, reason: str, policy: str) -> None:
        if policy == "fail":
            raise FatalError(f"{record!r} ({record.position}): {reason}, and {reason}='fail'")
        slice_.rejected.append((record, reason))


def _judge(
    lane: Lane, record: Record, place: int | None, digest: bytes, answer: Claimed, known: Known
) -> Judged:
    """Give the verdict of one record; `place` says where it stands in the answer."""
    owner = None
    if place is None:
        verdict = Verdict.SETTLED if record.offset < known.floor else Verdict.FRESH
    else:
        verdict, owner = answer.verdicts[place], answer.owners.get(place)
    replay = lane.replayed(record.offset)
    if replay and not replay.handles(record.offset, digest):
        verdict, owner = Verdict.SETTLED, None
    return Judged(
        verdict,
        keyed=place is not None,
        same_partition=owner is not None and owner.partition == record.partition,
        in_doubt=lane.plain
        and rules.in_doubt(
            verdict=verdict,
            offset=record.offset,
            begun=lane.begun,
            hearsay=place in answer.hearsay,
        ),
        owner=owner,
    )


def _suppressed(
    slice_: Slice, read: list[Record], judged: list[Judged], claims: Claims
) -> list[Suppressed]:
    """Give what is settled in favour of an owner, for the audit."""
    kept = {record.offset for record in slice_.records}
    digests = dict(zip(claims.offsets, claims.digests, strict=True))
    partition = claims.partition
    return [
        Suppressed(
            partition,
            record.offset,
            digests[record.offset],
            found.owner,
            found.verdict,
            max(record.timestamp, 0) // 1000,
            sender(record),
        )
        for record, found in zip(read, judged, strict=True)
        if found.owner is not None and record.offset not in kept
    ]


def _taken_over(read: list[Record], judged: list[Judged], claims: Claims) -> Iterator[Suppressed]:
    """Give the dead letters whose keys redriven records have taken over, for the audit.

    Whichever of the two recovery reads first, it must not give the key back to the letter: a
    second redrive of it would take the key over again, and be handled.
    """
    if not claims.redriven:
        return
    found = {record.offset: each for record, each in zip(read, judged, strict=True)}
    for n, (partition, offset) in claims.redriven.items():
        at = claims.offsets[n]
        if found[at].verdict in HANDLED:
            owner = Owner(claims.partition, at, claims.fingerprints[n])
            told = (claims.digests[n], owner, Verdict.FRESH, claims.times[n], None)
            yield Suppressed(partition, offset, *told)


def _remember_marks(lane: Lane, claims: Claims, known: Known, seal: str) -> None:
    """Note what may have begun: a mark that is not ours says it of somebody else.

    So does whatever the ledger was opened anew with, even if it is where our own mark was.
    """
    if known.begun > lane.marked or seal != lane.seal:
        lane.begun = max(lane.begun, known.begun)
    lane.marked, lane.seal = max(known.begun, claims.begun), seal
