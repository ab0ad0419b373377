"""Rules on what our user may do, compared with what `docs/how-to/acls.md` says it needs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from eos.core.ports.preflight import Operations
from eos.operate.checks.finding import Finding, fault, ok, unless, warning
from eos.operate.checks.subject import Role

_NEEDED = {
    Role.SOURCE: ("READ",),
    Role.TARGET: ("WRITE",),
    Role.LETTERS: ("WRITE",),
    Role.AUDIT: ("WRITE", "READ"),
    Role.POSITIONS: ("READ",),
}


class Use(NamedTuple):
    """What a topic is used for; one that is read and published to is used twice.

    Attributes:
        topic: Its name.
        role: What for.
        may: What our user may do with it.
    """

    topic: str
    role: Role
    may: Operations


def rights(topics: Sequence[Use], groups: Mapping[str, Operations]) -> list[Finding]:
    """Judge what our user may do with topics and groups.

    Args:
        topics: What topics that are there are used for.
        groups: Of each group what may be done with it.
    """
    told = [use.may for use in topics] + list(groups.values())
    if not any(told):
        return [ok("rights", "the brokers do not tell")]
    count = len({use.topic for use in topics})
    return unless(
        [*_topics(topics), *_groups(groups)],
        ok("rights", f"all that is needed on topics ({count}) and groups ({len(groups)})"),
    )


def _topics(topics: Sequence[Use]) -> Iterator[Finding]:
    for name, role, may in topics:
        for needed in _NEEDED[role]:
            if may and not may & {needed, "ALL"}:
                found = f"{needed} on topic {name} is not allowed ({role})"
                yield fault("rights", found, f"allow our user {needed} on it")


def _groups(groups: Mapping[str, Operations]) -> Iterator[Finding]:
    for name, may in groups.items():
        if may and "READ" not in may and "ALL" not in may:
            found = f"READ on group {name} is not allowed"
            yield fault("rights", found, "allow our user READ on it: membership and offsets")


def unseen(name: str, role: Role, why: str) -> Finding:
    """Say that a topic may not even be looked at."""
    needed = " and ".join(_NEEDED[role])
    advice = f"allow our user {needed} on it (docs/how-to/acls.md), or correct the name"
    return fault(f"topic {name}", f"{why}; {role.purpose}", advice)


def closed(group: str) -> Finding:
    """Say that a group may not even be looked at."""
    found = "our user has no right on it: nobody can join it"
    return fault(f"group {group}", found, "allow our user READ on it (docs/how-to/acls.md)")


def transactional_id(name: str, workers: str, why: str | None, *, is_theirs: bool) -> Finding:
    """Judge the trial of a transactional id.

    Args:
        name: The id that was tried.
        workers: The ids that workers use, for people.
        why: Why it may not be used; None if it may.
        is_theirs: Whether it is one that a worker uses.
    """
    what = "transactional ids"
    if why is None:
        return ok(what, f"{workers} may be used")
    advice = f"allow our user WRITE on ids that begin with {name.rpartition('.')[0]}."
    if is_theirs:
        return fault(what, f"{name} may not be used: {why}", advice)
    found = f"{name}, which was tried for {workers}, may not be used: {why}"
    return warning(what, found, f"{advice}; if full names are allowed, this says nothing")
