"""Rules on a ledger in Redis; what it refuses by itself, `RedisLedger.check` says."""

from collections.abc import Iterator, Mapping

from eos.core.ports.preflight import RedisServer
from eos.operate.checks.clocks import clock
from eos.operate.checks.finding import Finding, bytes_shown, fault, ok, unless, warning

_SERVER, _MEMORY, _KEPT, _CLOCK, _KEYS = "server", "memory", "persistence", "clock", "keys"
_LISTPACK_ENTRIES = 128
_FULL = 0.8


def redis(found: RedisServer) -> Iterator[Finding]:
    """Judge a server."""
    if found.mode != "standalone":
        told = f"is a node of Redis {found.mode.capitalize()}: only one server is supported yet"
        yield fault(_SERVER, told, "point EOS_LEDGER at a Redis that stands by itself")
    if found.role != "master":
        told = "is a replica: it takes no writes"
        yield fault(_SERVER, told, "point EOS_LEDGER at the primary")
    yield from _memory(found)
    yield _persistence(found)
    yield clock(_CLOCK, found.ahead, found.off_by)


def _memory(found: RedisServer) -> Iterator[Finding]:
    if found.policy is None:
        told = "does not tell its maxmemory-policy: anything but noeviction drops claims"
        yield warning(_MEMORY, told, "see that it is noeviction")
    told = f"{bytes_shown(found.used)} used of {bytes_shown(found.limit)}"
    if found.limit and found.used >= found.limit:
        yield fault(_MEMORY, f"{told}: it takes no more keys", "raise maxmemory")
    elif found.limit and found.used >= _FULL * found.limit:
        yield warning(_MEMORY, told, "raise maxmemory, or shorten the window: a key takes 36 bytes")
    else:
        yield ok(_MEMORY, told if found.limit else f"{bytes_shown(found.used)} used, no maxmemory")
    entries = found.listpack_entries
    if entries is not None and entries < _LISTPACK_ENTRIES:
        told = f"hash-max-listpack-entries is {entries}: a key takes up to 3 times the memory"
        yield warning(_MEMORY, told, f"set it to {_LISTPACK_ENTRIES} or more")


def _persistence(found: RedisServer) -> Finding:
    cost = "the group pauses until a window of its topics was read again"
    copies = f", {found.replicas} replica{'s' * (found.replicas != 1)}" if found.replicas else ""
    if found.append_only:
        return ok(_KEPT, f"append-only file{copies}: a restart costs little")
    if found.saves:
        return ok(_KEPT, f"snapshots{copies}: after a restart {cost}, from the last one on")
    if found.saves is None:
        return ok(_KEPT, f"does not tell what it keeps{copies}: if nothing, after a restart {cost}")
    return ok(_KEPT, f"keeps nothing{copies}: after a restart {cost}")


def layouts(found: Mapping[str, str | None], ours: str) -> list[Finding]:
    """See that what is there was written by this version of eos.

    Args:
        found: The layout of what is known of each topic; None where that is nothing.
        ours: The layout that this version writes.
    """
    if not found:
        return []
    others = {topic: layout for topic, layout in found.items() if layout not in (None, ours)}
    known = sum(layout is not None for layout in found.values())
    return unless(
        (
            fault(
                _KEYS,
                f"holds keys of topic {topic} in layout {layout}; this eos has layout {ours}",
                "run one version of eos, or purge the ledger",
            )
            for topic, layout in others.items()
        ),
        ok(_KEYS, f"of {known} of {len(found)} topics, in layout {ours}"),
    )
