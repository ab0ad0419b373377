"""Times as a command takes them: a time, or how long ago."""

import time
from datetime import UTC, datetime

from eos.core.errors import ConfigError
from eos.core.settings import duration

_ADVICE = "write 2h (two hours ago), 2026-11-23T08:00 (UTC) or 2026-11-23T08:00+01:00"


def moment(option: str, given: str | None) -> int | None:
    """Read a time, in milliseconds since the epoch; None if none is given.

    Args:
        option: The option's name, for what is said of it.
        given: A time in ISO 8601, in UTC where it does not say, or a duration: so long ago.

    Raises:
        ConfigError: It is neither, or lies in the future.
    """
    if given is None:
        return None
    now = time.time()
    try:
        seconds = now - duration(given)
    except ValueError:
        seconds = _absolute(option, given)
    if seconds > now:
        raise ConfigError([f"{option}={given!r} lies in the future"])
    try:
        return int(seconds * 1000)
    except OverflowError as error:  # a duration may be as long as a number can be written
        raise _no_time(option, given) from error


def shown(milliseconds: int) -> str:
    """Give a time as a line shows it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"


def _absolute(option: str, given: str) -> float:
    try:
        found = datetime.fromisoformat(given.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise _no_time(option, given) from error


def _no_time(option: str, given: str) -> ConfigError:
    return ConfigError([f"{option}={given!r} is no time: {_ADVICE}"])
