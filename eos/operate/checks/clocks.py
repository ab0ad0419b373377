"""Rules on clocks."""

from eos.operate.checks.finding import Finding, ok, warning

TOLERANCE = 1.0


def clock(what: str, ahead: float, off_by: float) -> Finding:
    """Compare a server's clock with ours.

    Args:
        what: Whose clock.
        ahead: By how many seconds it is ahead of ours.
        off_by: How wrong that may be.
    """
    if abs(ahead) - off_by <= TOLERANCE:
        return ok(what, f"its clock is within {TOLERANCE:g} s of ours")
    side = "ahead of" if ahead > 0 else "behind"
    found = f"its clock is {abs(ahead):.1f} s {side} ours: the window is counted by it"
    return warning(what, found, "have both follow a time server (chrony, systemd-timesyncd)")
