"""What an app's answer to a push means. Pure: no I/O, no clock but the one that is given."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

MOST_SECONDS = 300.0
"""No app is waited for longer than this because it says so (`Retry-After`)."""

_BUSY = frozenset({408, 421, 425, 429, 503})
_MULTIPLE = 300
_CLIENT = 400
_SERVER = 500


class Fate(StrEnum):
    """What becomes of an event that was pushed; the values are those of a metric's label."""

    HANDLED = "handled"
    BUSY = "busy"
    REJECTED = "rejected"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    AWAY = "away"


class Answer(NamedTuple):
    """An app's answer.

    Attributes:
        status: Its status.
        headers: Its headers, names in lower case; the first of each name.
        body: Its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def fate_of(status: int) -> Fate:
    """Tell what a status means.

    - 2xx: handled.
    - 408, 421, 425, 429, 503: the app cannot take it now; it is pushed again, and no try counts.
    - any other 4xx: no other try can help.
    - anything else, redirects included, which are never followed: another try may help.
    """
    if _MULTIPLE > status >= _MULTIPLE - 100:
        return Fate.HANDLED
    if status in _BUSY:
        return Fate.BUSY
    return Fate.REJECTED if _CLIENT <= status < _SERVER else Fate.FAILED


def retry_after(value: str | None, now: float) -> float:
    """Read a `Retry-After` header (RFC 9110 §10.2.3): whole seconds, or a date.

    Args:
        value: The header; None if there is none.
        now: Seconds since the epoch.

    Returns:
        For how many seconds to wait, at most `MOST_SECONDS`; 0 where it says nothing that is
        understood.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MOST_SECONDS)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(date.timestamp() - now, 0.0), MOST_SECONDS)
