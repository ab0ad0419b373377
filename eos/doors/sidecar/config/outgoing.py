"""Reads the sections of a configuration that tell what goes out: `[publish]` and `[outbox]`."""

import re
from collections.abc import Callable
from typing import Any

from eos.core.errors import ConfigError
from eos.core.settings import duration
from eos.doors.sidecar.config.told import Outbox, Publish

Value = Callable[[str, str, Any], Any]
"""Gives the value of a section's key, or a default."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_LEAST_TIMEOUT, _MOST_TIMEOUT = 0.1, 300.0
_LEAST_POLL, _MOST_SECONDS = 0.01, 3_600_000_000.0


def publish_of(value: Value, faults: list[str]) -> Publish | None:
    """Read what is published for callers; None: nothing.

    Args:
        value: Gives a section's key.
        faults: What is wrong is added.
    """
    topics = value("publish", "topics", None)
    if isinstance(topics, str):
        topics = [name.strip() for name in topics.split(",") if name.strip()]
    timeout = _seconds(value, faults, "publish", "timeout", "10s", (_LEAST_TIMEOUT, _MOST_TIMEOUT))
    if topics is None:
        return None
    if not isinstance(topics, list) or not topics:
        faults.append(f"[publish] topics={topics!r}: write a list of topics")
        return None
    wrong = [name for name in topics if not isinstance(name, str) or not _TOPIC.fullmatch(name)]
    faults += [f"[publish] topics: {name!r} is no name of a topic" for name in wrong]
    return Publish(topics=tuple(map(str, dict.fromkeys(topics))), timeout=timeout)


def outbox_of(value: Value, faults: list[str]) -> Outbox | None:
    """Read what is relayed; None: nothing.

    Args:
        value: Gives a section's key.
        faults: What is wrong is added.
    """
    database = value("outbox", "database", None)
    poll = _seconds(value, faults, "outbox", "poll", "1s", (_LEAST_POLL, _MOST_SECONDS))
    keep = _seconds(value, faults, "outbox", "keep", "0s", (0.0, _MOST_SECONDS))
    if database is None:
        return None
    from eos.stores.sql.connections import engine_of  # noqa: PLC0415 only who has one loads it

    try:
        engine_of(str(database)).dispose()
    except ConfigError as error:
        faults += [f"[outbox] database: {fault}" for fault in error.faults]
    return Outbox(database=str(database), poll=poll, keep=keep)


def _seconds(
    value: Value,
    faults: list[str],
    section: str,
    key: str,
    default: str,
    within: tuple[float, float],
) -> float:
    given = value(section, key, default)
    try:
        seconds = duration(given)
    except (ValueError, TypeError, AttributeError):
        seconds = -1.0
    least, most = within
    if not least <= seconds <= most:
        faults.append(
            f"[{section}] {key}={given!r}: write a duration such as {default!r}, from {least:g} s"
            f" to {most:g} s"
        )
    return seconds
