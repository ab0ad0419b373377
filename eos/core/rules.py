"""The rules of the ledger, as pure functions.

Each branch stands in the order of the rule's sentences in `docs/design.md`. Every ledger obeys
them: the memory ledger calls them, the Redis script repeats them beside a differential test,
and the random model in `tests/simulation` drives them.
"""

from collections.abc import Iterable
from enum import Enum, StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What a claim answers about one record."""

    FRESH = "fresh"
    """Nobody has claimed the key before: handle."""
    AGAIN = "again"
    """This very position owns the key: an earlier attempt did not settle. Handle."""
    DUPLICATE = "duplicate"
    """Another position owns the key, with the same payload: suppress."""
    CONFLICT = "conflict"
    """Another position owns the key, with another payload: never dropped in silence."""
    SETTLED = "settled"
    """The position lies below the frontier: suppress."""


HANDLED = frozenset({Verdict.FRESH, Verdict.AGAIN})
SUPPRESSED = frozenset({Verdict.DUPLICATE, Verdict.CONFLICT})


class Owner(NamedTuple):
    """The first position that claimed an idempotency key, inside one topic.

    Attributes:
        partition: The owner's partition.
        offset: The owner's offset.
        fingerprint: 32-bit fingerprint of the owner's payload.
    """

    partition: int
    offset: int
    fingerprint: int


class Gap(NamedTuple):
    """Offsets of one partition at which nothing is delivered any more: owners there are void.

    Attributes:
        start: The first of them.
        stop: One past the last of them.
        time: When this was found, seconds since the epoch.
    """

    start: int
    stop: int
    time: int = 0


def verdict(  # noqa: PLR0911 one for each sentence of the rule
    *,
    partition: int,
    offset: int,
    settled_below: int,
    keyed: bool,
    fingerprint: int,
    owner: Owner | None,
    redriven: tuple[int, int] | None = None,
    void: bool = False,
) -> Verdict:
    """Decide one claim. A keyed record that is FRESH becomes the owner.

    A dead letter that is published again takes its key over from where it was dead-lettered, and
    from nowhere else: of two redrives of one letter the second finds another owner, and is a
    DUPLICATE. A letter that was a CONFLICT never owned its key, and moves nothing.

    Args:
        partition: The claiming record's partition.
        offset: The claiming record's offset.
        settled_below: The highest frontier known for the partition, the ledger's floor included.
        keyed: Whether the record has an idempotency key.
        fingerprint: 32-bit fingerprint of its payload.
        owner: Who owns the key now.
        redriven: Partition and offset at which the record was dead-lettered, if it says so.
        void: Whether nothing is delivered at the owner's position any more, nor was it settled.
    """
    if offset < settled_below:
        return Verdict.SETTLED
    if not keyed:
        return Verdict.FRESH
    if owner is None:
        return Verdict.FRESH
    if (owner.partition, owner.offset) == (partition, offset):
        return Verdict.AGAIN
    if void or (owner.partition, owner.offset) == redriven:
        return Verdict.FRESH
    if owner.fingerprint == fingerprint:
        return Verdict.DUPLICATE
    return Verdict.CONFLICT


class Admission(Enum):
    """Whether a ledger takes a batch of claims at all."""

    OPEN = "open"
    """It does."""
    CLOSED = "closed"
    """It has lost its seal, or is another server: recover."""
    FENCED = "fenced"
    """A newer epoch took the partition over: drop the batch."""
    GAP = "gap"
    """The batch begins above what was claimed: claims were lost. Rewind; recover if need be."""


def admit(*, sealed: bool, epoch: int, newest_epoch: int, start: int, claimed: int) -> Admission:
    """Decide whether the claims of one partition may be taken.

    Args:
        sealed: Whether the ledger's seal names the server that is answering.
        epoch: The epoch under which the caller took the partition.
        newest_epoch: The newest epoch given out for the partition; 0 if none is known.
        start: Where the reading of this batch began: the end of the batch before it.
        claimed: One past the highest offset claimed in the partition; 0 if none.
    """
    if not sealed:
        return Admission.CLOSED
    if epoch < newest_epoch:
        return Admission.FENCED
    if start > claimed:
        return Admission.GAP
    return Admission.OPEN


def in_doubt(*, verdict: Verdict, offset: int, begun: int, hearsay: bool) -> bool:
    """Decide whether an earlier attempt may have had its effect: plain tier.

    There a crash can fall between the effect and the settling of its record. Such a record is
    handed out again, flagged. After a ledger loss recovery does not know which of the settled
    positions were handled, and which were suppressed in favour of one that was still in flight.
    So an owner below where the log ended at the opening is hearsay, and a record that may be that
    one in flight is never suppressed because of it.

    Args:
        verdict: What the ledger says.
        offset: The record's offset.
        begun: One past the highest offset that may have begun before this claim.
        hearsay: Whether the owner stands below where the log ended when the ledger was opened.
    """
    if offset >= begun:
        return False
    if verdict in HANDLED:
        return True
    return verdict is not Verdict.SETTLED and hearsay


def next_epoch(last: int, now_us: int) -> int:
    """Give the epoch of a take-over. It never restarts, not even after the counter was lost.

    Args:
        last: The newest epoch that the ledger remembers; 0 if none.
        now_us: The ledger server's clock, microseconds since the epoch. It is the base that
            outlives a flush: a counter alone would hand out old tokens again.
    """
    return max(last + 1, now_us)


def set_back(*, committed: int, ours: bool, settled: int) -> bool:
    """Decide whether somebody else has set a group's offset back, without a word to eos.

    Args:
        committed: The offset that Kafka has for the group.
        ours: Whether eos committed it: what it commits may fall behind, and be made good.
        settled: Below it all is settled, as those know who keep frontiers beside Kafka.
    """
    return not ours and committed < settled


def reread(claimed: int, frontier: int, window_start: int) -> range:
    """Give the offsets of a partition that recovery reads again.

    Args:
        claimed: One past the highest offset that the ledger has a claim of; 0 if none.
        frontier: The first offset that is not settled, by a stable read.
        window_start: The first offset that lies inside the window.
    """
    return range(min(max(claimed, window_start), frontier), frontier)


def reasserts(
    *,
    audited: bool,
    owner: Owner | None,
    redriven: tuple[int, int] | None = None,
    void: bool = False,
) -> bool:
    """Decide whether a position that recovery reads again becomes its key's owner: plain tier.

    There nothing says which of the positions were handled: nobody is overruled, but for a dead
    letter by the record that was redriven in its place.

    Args:
        audited: The audit says that this position was suppressed: another one is the owner.
        owner: Who owns the key now.
        redriven: Where this record was dead-lettered, if it says so: see `verdict`.
        void: Whether nothing is delivered at the owner's position any more: see `verdict`.
    """
    return not audited and (owner is None or void or owner[:2] == redriven)


def restored(*, settled: Owner, audited: bool, owner: Owner | None) -> Owner | None:
    """Give who owns a key once recovery, with the audit at hand, has read one of its positions.

    Settled and not in the audit means handled: a fact. It overrules what the ledger says, which
    may come from a timeline that the log did not follow:

    1. The ledger holds key → A, not settled yet, and is flushed.
    2. B, a copy of A, claims the key and is settled.
    3. An operator restores the ledger's dump of step 1: it holds key → A again.

    If A is left the owner, it is handled a second time; and if A was suppressed in favour of a B
    that is not settled yet, B is suppressed in favour of A, and the key is lost. For the same
    reason the reading begins at the ledger's floor, not at what it says was claimed: only what
    was settled at the time of the dump is true for ever.

    A dead letter that was redriven is in the audit, too, as one that gave its key to the record
    that was published in its place: whichever of the two is read first, that one is the owner.

    Args:
        settled: The position that is read again.
        audited: The audit says that it was suppressed as DUPLICATE or CONFLICT, or redriven.
        owner: Who owns the key now.
    """
    if not audited:
        return settled
    if owner is not None and owner[:2] == settled[:2]:
        return None
    return owner


def passed_over(frontier: int, start: int, end: int) -> range | None:
    """Give what a group can never read of a partition whose log has let go of its frontier.

    Args:
        frontier: The first offset that is not settled.
        start: The first offset that the log still has.
        end: Where it ends.

    Returns:
        What retention has removed before it was handled, which may be nothing; None if the log
        ends before the frontier: it was cut off, and what is settled is to be given away anew.
    """
    return None if frontier > end else range(frontier, max(frontier, start))


def is_void(owner: Owner | None, gaps: Iterable[Gap]) -> bool:
    """Tell whether an owner stands in one of the gaps of its partition."""
    return owner is not None and any(gap.start <= owner.offset < gap.stop for gap in gaps)


def with_gap(gaps: Iterable[Gap], new: Gap, oldest: int) -> list[Gap]:
    """Give the gaps of a partition that still matter once there is another one.

    Args:
        gaps: Those that were known.
        new: One more.
        oldest: No owner has an older log time, in seconds: what was void before that is forgotten.
    """
    kept = [g for g in gaps if g.time >= oldest and (g.start < new.start or g.stop > new.stop)]
    return sorted([*kept, new])


def log_time(stamp: int, last: int, now: int) -> int:
    """Give the log time under which a claim is filed, in seconds since the epoch.

    Clamped between the partition's last and the server's clock: a record from the future would
    hold its generation for ever, one from the past would be dropped at once.

    Args:
        stamp: The record's own time stamp.
        last: The log time of the partition's latest claim; 0 if none.
        now: The server's clock.
    """
    return max(last, min(stamp, now))


def droppable(end: int, window: int, frontier_times: Iterable[int]) -> bool:
    """Decide whether a generation may go: each frontier has passed its end by the window.

    Args:
        end: Where the generation ends, log time in seconds.
        window: The window in seconds.
        frontier_times: The log time of every partition's frontier, in seconds.
    """
    return all(time >= end + window for time in frontier_times)
