"""What a batch of claims meets and makes: owners are read together, and written together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from eos.core import rules
from eos.core.ports import Assertion, Claims, Known
from eos.core.rules import Gap, Owner, Verdict
from eos.stores.sql.ledger_book import Book, Part


@dataclass(slots=True)
class Filing:
    """The owners of a batch's keys.

    Attributes:
        book: The shard.
        generation: Length of a generation, in seconds.
        live: The number of each live generation, by its end.
        owners: Who owns which key, new owners included.
        now: The database's clock, in seconds.
        gaps: Where nothing is delivered any more, in the partitions of those owners.
        verdicts: One per record that was claimed so far.
        behind: The owner behind each verdict that is DUPLICATE or CONFLICT, by index.
    """

    book: Book
    generation: int
    live: dict[int, int]
    owners: dict[bytes, Owner]
    now: int
    gaps: dict[int, list[Gap]]
    verdicts: list[Verdict] = field(default_factory=list)
    behind: dict[int, Owner] = field(default_factory=dict)
    _new: dict[int, dict[bytes, Owner]] = field(default_factory=dict)
    _gone: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, book: Book, batch: Sequence[Claims] | Sequence[Assertion], generation: int) -> Self:
        """Look up the owners of all keys of a batch."""
        digests = list(dict.fromkeys(d for claims in batch for d in claims.digests if d))
        live = book.generations()
        found = book.owners(digests, live)
        gaps = book.gaps({owner.partition for owner in found.values()}) if found else {}
        return cls(book, generation, live, found, book.now_us // 1_000_000, gaps)

    def claim(self, claims: Claims, part: Part) -> Known:
        """Claim the records of one partition; give what was known of it before."""
        p = claims.partition
        # After a loss nobody is fenced, until the newest epoch is heard of again: remember it.
        part.epoch = max(part.epoch, claims.epoch)
        part.floor = max(part.floor, claims.frontier)
        part.claimed = max(part.claimed, claims.end)
        known = Known(part.floor, part.begun)
        part.begun = max(part.begun, claims.begun)
        for n, (offset, digest, fingerprint, stamp) in enumerate(
            zip(claims.offsets, claims.digests, claims.fingerprints, claims.times, strict=True)
        ):
            part.last = rules.log_time(stamp, part.last, self.now)
            owner = self.owners.get(digest) if digest else None
            verdict = rules.verdict(
                partition=p,
                offset=offset,
                settled_below=part.floor,
                keyed=bool(digest),
                fingerprint=fingerprint,
                owner=owner,
                redriven=claims.redriven.get(n),
                void=self._is_void(owner),
            )
            if verdict is Verdict.FRESH and digest:
                if owner:
                    self._disown(digest)
                self._own(part.last, digest, Owner(p, offset, fingerprint))
            if owner and verdict in (Verdict.DUPLICATE, Verdict.CONFLICT):
                self.behind[len(self.verdicts)] = owner
            self.verdicts.append(verdict)
        return known

    def put_back(self, assertion: Assertion, part: Part) -> None:
        """Make owners of records that are read again, and count them as claimed."""
        for n, (offset, digest, fingerprint, stamp) in enumerate(
            zip(
                assertion.offsets,
                assertion.digests,
                assertion.fingerprints,
                assertion.times,
                strict=True,
            )
        ):
            part.last = rules.log_time(stamp, part.last, self.now)
            if digest:
                read = Owner(assertion.partition, offset, fingerprint)
                self._restore(part.last, digest, read, assertion, assertion.redriven.get(n))
        part.claimed = max(part.claimed, assertion.end)
        if assertion.settled:
            part.floor = max(part.floor, assertion.floor)

    def _restore(
        self,
        time: int,
        digest: bytes,
        read: Owner,
        assertion: Assertion,
        redriven: tuple[int, int] | None,
    ) -> None:
        audited, before = read.offset in assertion.audited, self.owners.get(digest)
        if assertion.settled:
            after = rules.restored(settled=read, audited=audited, owner=before)
        else:
            void = self._is_void(before)
            taken = rules.reasserts(audited=audited, owner=before, redriven=redriven, void=void)
            after = read if taken else before
        if after == before:
            return
        if before is not None:
            self._disown(digest)
        if after is not None:
            self._own(time, digest, after)

    def write(self) -> None:
        """Write the new owners down."""
        self.book.disown(self._gone, self.live)
        for end, new in self._new.items():
            if new:
                self.book.own(end, new, self.live)
        if self._gone:
            self.book.prune(self.live)

    def _is_void(self, owner: Owner | None) -> bool:
        return owner is not None and rules.is_void(owner, self.gaps.get(owner.partition, []))

    def _disown(self, digest: bytes) -> None:
        del self.owners[digest]
        for new in self._new.values():
            new.pop(digest, None)
        self._gone.append(digest)

    def _own(self, time: int, digest: bytes, owner: Owner) -> None:
        self.owners[digest] = owner
        end = (time // self.generation + 1) * self.generation
        self._new.setdefault(end, {})[digest] = owner
