"""Rules on what a topic keeps, and for how long."""

from collections.abc import Iterator, Mapping

from eos.operate.checks.finding import Finding, bytes_shown, fault, seconds_shown, warning
from eos.operate.checks.preferences import number
from eos.operate.checks.subject import Role

_FOR_EVER = -1
_READ_AGAIN = (Role.SOURCE, Role.LETTERS, Role.AUDIT)


def kept(
    what: str, role: Role, settings: Mapping[str, str], window: int, *, recovered: bool
) -> Iterator[Finding]:
    """Judge what a topic keeps.

    Args:
        what: How its rows are called.
        role: What it is for.
        settings: Its settings.
        window: For how long re-sends are recognised, in seconds.
        recovered: Whether owners are put back from it when the ledger was lost.
    """
    if role not in _READ_AGAIN:
        return
    policy = settings.get("cleanup.policy", "delete")
    if "compact" in policy:
        yield _compacted(what, role)
    if "delete" not in policy:
        return
    keeps = number(settings, "retention.ms", _FOR_EVER)
    if 0 <= keeps < window * 1000:
        yield _too_short(what, role, keeps / 1000, window, recovered=recovered)
    limit = number(settings, "retention.bytes", _FOR_EVER)
    if limit >= 0:
        found = (
            f"retention.bytes is {limit}: a partition that grows past {bytes_shown(limit)} loses "
            "its oldest records, however young"
        )
        advice = f"set it to -1, or see that it holds {seconds_shown(window)} at your peak"
        yield warning(what, found, advice)


def _too_short(what: str, role: Role, keeps: float, window: int, *, recovered: bool) -> Finding:
    numbers = f"kept for {seconds_shown(keeps)}, the window is {seconds_shown(window)}"
    advice = f"set retention.ms to {window * 1000} or more, or shorten the window"
    if role is Role.LETTERS:
        return warning(what, f"{numbers}: letters are gone before", advice)
    if role is Role.AUDIT:
        found = f"{numbers}: after a loss of the ledger, a copy could be taken for its original"
        return fault(what, found, advice)
    if recovered:
        found = f"{numbers}: a lost ledger could not be put back from what is left"
        return fault(what, found, advice)
    found = f"{numbers}: a group that is stopped for longer loses records"
    return warning(what, found, advice)


def _compacted(what: str, role: Role) -> Finding:
    if role is Role.LETTERS:
        found = "is compacted: a letter replaces earlier ones of its key"
        return fault(what, found, "set cleanup.policy to delete")
    if role is Role.AUDIT:
        found = "is compacted: of all copies of a key it keeps the last one only"
        return fault(what, found, "set cleanup.policy to delete")
    found = (
        "is compacted: records may go before they are read, and the owners of idempotency keys "
        "with them; after a loss of the ledger, copies of these would be handled again"
    )
    advice = "if each record counts, set cleanup.policy to delete, or min.compaction.lag.ms past "
    return warning(what, found, f"{advice}the longest time that the group may be stopped")
