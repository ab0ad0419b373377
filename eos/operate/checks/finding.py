"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from eos.core.errors import ConfigError, EosError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may cost something that one should know of."""
    FAULT = "fault"
    """It does not work, or does not keep what eos promises."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of a report.

    Attributes:
        what: What was looked at.
        level: How bad it is.
        found: What was found.
        advice: What to do; empty where nothing is to be done.
    """

    what: str
    level: Level
    found: str
    advice: str = ""


def ok(what: str, found: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(what, Level.OK, found)


def warning(what: str, found: str, advice: str) -> Finding:
    """Say what something may cost."""
    return Finding(what, Level.WARNING, found, advice)


def fault(what: str, found: str, advice: str) -> Finding:
    """Say what does not work."""
    return Finding(what, Level.FAULT, found, advice)


def of_error(what: str, error: EosError) -> list[Finding]:
    """Say what an error says, each fault of the settings by itself; it names the advice itself."""
    texts = error.faults if isinstance(error, ConfigError) else (str(error),)
    return [Finding(what, Level.FAULT, " ".join(text.split())) for text in texts]


def unless(found: Iterable[Finding], fine: Finding) -> list[Finding]:
    """Give what was found; where that is nothing, that all is fine."""
    return list(found) or [fine]


def seconds_shown(seconds: float) -> str:
    """Write a duration as people say it: `90 s`, `15 min`, `7 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"


def bytes_shown(count: float) -> str:
    """Write a size as people say it."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 10_000:  # noqa: PLR2004 four digits are read at a glance
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
