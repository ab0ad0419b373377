"""Which dead letters a command line means."""

from collections.abc import Iterable, Iterator

from eos.cli.moments import moment
from eos.core.errors import ConfigError
from eos.core.keys import bounded
from eos.core.letters import place_of
from eos.operate.letters import Selection


def selection_of(
    ids: list[str] | None,
    reasons: list[str] | None,
    topics: list[str] | None,
    keys: list[str] | None,
    since: str | None,
    until: str | None,
    *,
    every: bool | None = None,
) -> Selection:
    """Read what was given.

    Args:
        ids: Ids of letters.
        reasons: Why they are there.
        topics: Where they came from.
        keys: Their idempotency keys.
        since: When they were dead-lettered, at the earliest.
        until: Before when they were.
        every: All of them. Where it is said, and be it that it is not so, one of ids, a selection
            and this must be given.

    Raises:
        ConfigError: Something is not what it has to be.
    """
    places = {given: place_of(given) for given in ids or []}
    faults = [
        f"{given!r} is no id of a dead letter: write partition:offset, such as 0:17"
        for given, place in places.items()
        if place is None
    ]
    if faults:
        raise ConfigError(faults)
    begin, end = moment("since", since), moment("until", until)
    if begin is not None and end is not None and begin >= end:
        raise ConfigError([f"since={since!r} is not before until={until!r}"])
    said = bool(reasons or topics or keys or since or until)
    if every is not None and bool(ids) + said + every != 1:
        choosing = "--reason, --topic, --key, --since, --until"
        raise ConfigError([f"say which: ids, or a selection ({choosing}), or --all"])
    return Selection(
        {place for place in places.values() if place},
        frozenset(reasons or ()),
        frozenset(topics or ()),
        frozenset(_forms(keys or ())),
        begin,
        end,
    )


def _forms(keys: Iterable[str]) -> Iterator[bytes]:
    """Give keys as letters have them.

    That of a CloudEvent has a zero byte between source and id, which no argument can have: it is
    written as it is shown.
    """
    for key in keys:
        for form in (key, key.replace("\\x00", "\x00")):
            yield bounded(form.encode("utf-8", "surrogateescape"))
