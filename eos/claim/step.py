"""Asks the ledger, one call per batch and shard, and keeps what is to be handled."""

from collections import Counter
from collections.abc import Callable, Mapping

from eos.claim.keys import Identify
from eos.consume.step import Slice
from eos.core import events
from eos.core.errors import AbortableError, FatalError
from eos.core.events import Emit
from eos.core.ports import Claimed, Claims, Ledger, Refused
from eos.core.record import Record, Shard
from eos.core.rules import HANDLED, Admission, Verdict
from eos.core.settings import Settings

Recover = Callable[[str, str, Mapping[int, int]], None]
"""Rebuilds the ledger of a topic from the log: its name, the cause, and where the reading of
partitions began that the group may never have settled anything of."""

Seals = dict[str, tuple[Shard, str]]
"""By topic, the shard and the seal under which records were claimed."""


class Claim:
    """The second step of the line.

    Args:
        ledger: Gives the verdicts.
        identify: Reads and digests idempotency keys.
        recover: Rebuilds the ledger of a topic from the log.
        settings: Say what becomes of records without a key, and of conflicts.
        emit: Told of the verdicts.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        identify: Identify,
        recover: Recover,
        settings: Settings,
        emit: Emit,
    ) -> None:
        self._ledger = ledger
        self._identify = identify
        self._recover = recover
        self._missing_key = settings.missing_key
        self._conflict = settings.conflict
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
            self._claim(topic, [s for s in batch if s.lane.partition[0] == topic])
        return batch

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
        batch = [self._claims(slice_) for slice_ in slices]
        answer = self._ledger.claim(shard, batch)
        if isinstance(answer, Refused):
            self._refused(topic, slices, answer)
        else:
            self._check_seal(topic, shard, answer.seal)
            self._sort(topic, slices, batch, answer)

    def _claims(self, slice_: Slice) -> Claims:
        lane, records = slice_.lane, slice_.records
        claims = Claims(lane.partition[1], lane.epoch, lane.frontier, slice_.start, slice_.end)
        claims.offsets.extend(record.offset for record in records)
        self._identify(records, claims.digests, claims.fingerprints, claims.times)
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
            self._recover(topic, "gap", {answer.partition: slice_.start})
        raise AbortableError(
            f"claims of {topic}[{answer.partition}] below {slice_.start} are lost", "ledger_gap"
        )

    def _check_seal(self, topic: str, shard: Shard, seal: str) -> None:
        """All claims of one transaction are made under one seal."""
        if self._sealed.setdefault(topic, (shard, seal))[1] != seal:
            raise AbortableError(f"the ledger of {topic} was re-sealed", "ledger_resealed")

    def _sort(self, topic: str, slices: list[Slice], batch: list[Claims], answer: Claimed) -> None:
        """Keep what is to be handled, reject what a policy rejects, tell the rest."""
        at = same_partition = unkeyed = 0
        for slice_, claims in zip(slices, batch, strict=True):
            end = at + len(claims.offsets)
            verdicts = answer.verdicts[at:end]
            without = claims.digests.count(b"")
            same_partition += sum(
                owner.partition == claims.partition
                for index, owner in answer.owners.items()
                if at <= index < end and answer.verdicts[index] is Verdict.DUPLICATE
            )
            if without and self._missing_key != "position":
                self._select(slice_, verdicts, claims.digests)
            elif verdicts.count(Verdict.FRESH) != len(verdicts):
                self._select(slice_, verdicts, None)
            at, unkeyed = end, unkeyed + without
        self._emit(events.Claimed(topic, Counter(answer.verdicts), same_partition, unkeyed))

    def _select(self, slice_: Slice, verdicts: list[Verdict], digests: list[bytes] | None) -> None:
        """Split a slice; `digests` is given where a record must have a key."""
        kept = []
        for index, (record, verdict) in enumerate(zip(slice_.records, verdicts, strict=True)):
            if verdict is Verdict.CONFLICT and self._conflict != "handle":
                self._reject(slice_, record, "conflict", self._conflict)
            elif verdict in HANDLED and digests is not None and not digests[index]:
                self._reject(slice_, record, "missing_key", self._missing_key)
            elif verdict in HANDLED or verdict is Verdict.CONFLICT:
                kept.append(record)
        slice_.records = kept

    @staticmethod
    def _reject(slice_: Slice, record: Record, reason: str, policy: str) -> None:
        if policy == "fail":
            raise FatalError(f"{record!r} ({record.position}): {reason}, and {reason}='fail'")
        slice_.rejected.append((record, reason))
