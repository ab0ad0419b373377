"""Who recovers which part of a shard: leases on its partitions, and which of them are done.

Several workers recover a shard together. Their recovery has a name, which whoever begins it makes
up: what was put back under one name counts for nothing under another. The name and the leases lie
where the owners lie, so that a loss takes them along: then nobody can go on as if nothing was lost.
Times are in whatever unit the ledger counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

WHOLE = -1
"""In place of a partition's number: the shard as a whole, which one worker holds alone."""


class Lease(NamedTuple):
    """The right to put owners back, for a bounded time.

    Attributes:
        token: Names the holder.
        until: When it ends.
    """

    token: str
    until: float


@dataclass(slots=True)
class Leases:
    """A recovery of a shard that is under way.

    Attributes:
        identity: What it runs against: the ledger's server, and this recovery's own stamp.
        held: The leases by partition, those included that have run out.
        done: The partitions of which everything was put back.
    """

    identity: str
    held: dict[int, Lease] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    def holder(self, part: int, now: float) -> str | None:
        """Give who holds a part."""
        lease = self.held.get(part)
        return lease.token if lease and lease.until > now else None

    def holds(self, identity: str, token: str, part: int | None, now: float) -> bool:
        """Tell whether somebody holds a part of this recovery, and not of an earlier one."""
        return identity == self.identity and part is not None and self.holder(part, now) == token

    def complete(self, identity: str, partitions: int) -> bool:
        """Tell whether all partitions are done, in this recovery and not in an earlier one."""
        return identity == self.identity and self.done.issuperset(range(partitions))

    def finish(self, part: int) -> None:
        """Note that everything of a partition was put back: nobody holds it any more."""
        if part != WHOLE:
            self.held.pop(part, None)
            self.done.add(part)


class Asked(NamedTuple):
    """Somebody who asks for a lease.

    Attributes:
        token: Names him.
        wanted: The partitions that he would take, the first one first; None: the shard as a whole.
        until: When the lease is to end.
    """

    token: str
    wanted: Sequence[int] | None
    until: float


def lease(
    found: Leases | None, begun: Leases, asked: Asked, now: float
) -> tuple[Leases, int | None] | None:
    """Decide who gets a lease, on what, and in which recovery.

    Args:
        found: The recovery that the ledger knows of on this very server.
        begun: A new one, should one begin.
        asked: Who asks, and for what.
        now: The server's clock.

    Returns:
        The recovery, and the part that the asker holds in it now: None if what he wants is done
        or held by others. In place of both None, with nothing changed, where somebody else has the
        whole shard, or anything of it if the whole is wanted.
    """
    here = found or begun
    others = {part for part in here.held if here.holder(part, now) not in {None, asked.token}}
    if WHOLE in others or (asked.wanted is None and others):
        return None
    if asked.wanted is None:
        goes_on = here.holder(WHOLE, now) == asked.token
        part: int | None = WHOLE
    else:
        goes_on = WHOLE not in here.held
        left = (p for p in asked.wanted if not goes_on or p not in here.done | others)
        part = next(left, None)
    if not goes_on:
        here = begun
    if part is not None:
        here.held[part] = Lease(asked.token, asked.until)
    return here, part
