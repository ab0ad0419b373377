"""Rules on the settings, which no server is asked for."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from eos.core.settings import Settings
from eos.operate.checks.finding import Finding, fault, ok, seconds_shown, unless, warning
from eos.operate.checks.subject import Subject

SESSION_MS = 45_000
HEARTBEAT_MS = 3_000
RELAY_SESSION_MS = 6_000
POLL_MS = 300_000
_HEARTBEATS = 3
_LEAST_POLL_MS = 30_000
# What Docker, and a Deployment of Kubernetes, call a container anew with each start.
_CONTAINER = re.compile(r"[0-9a-f]{12}|.+-[0-9a-f]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}")


def secret(subject: Subject) -> list[Finding]:
    """See that nobody else can make digests."""
    if subject.settings.secret:
        return [ok("secret", "given")]
    found = "none: the digests' key derives from the namespace, so ids can be forged"
    advice = (
        "set EOS_SECRET to a long random text, the same for all workers, before the first run: "
        "under another one nothing that was seen is recognised"
    )
    return [warning("secret", found, advice)]


def servers(subject: Subject) -> Iterator[Finding]:
    """See that there is an address for what is needed."""
    settings = subject.settings
    if subject.whole and not settings.brokers:
        yield fault("brokers", "no address", "set EOS_BROKERS to host:port,host:port")
    if subject.whole and subject.sources and not settings.ledger:
        advice = "set EOS_LEDGER to redis://host:port/0, postgresql://user@host/name or sqlite:///f"
        yield fault("ledger", "no address", advice)
    if settings.ledger.startswith("memory:"):
        found = "memory: is for tests: it has one worker, and forgets all when that ends"
        yield warning("ledger", found, "give redis://…, postgresql://… or sqlite:///file")


def instance(subject: Subject) -> list[Finding]:
    """See that a worker that is started again finds its transactional id."""
    name = subject.settings.instance
    if not subject.instance_is_host or not subject.transactional:
        return []
    if _CONTAINER.fullmatch(name) is None:
        return [ok("instance", f"{name} (this host's name)")]
    found = (
        f"{name}, this host's name, looks like one that each start makes anew: what a dead worker "
        "left open then holds up readers for 10 s, and each start leaves transactional ids behind"
    )
    advice = "set EOS_INSTANCE to a name that stays, such as that of a StatefulSet's pod"
    return [warning("instance", found, advice)]


def time_outs(subject: Subject) -> list[Finding]:
    """See that the client's time-outs fit each other."""
    kafka = subject.settings.kafka
    session, poll = session_ms(subject.settings), number(kafka, "max.poll.interval.ms", POLL_MS)
    shown = f"session {seconds_shown(session / 1000)}, poll interval {seconds_shown(poll / 1000)}"
    return unless(_misfits(kafka, session, poll), ok("time-outs", shown))


def _misfits(kafka: Mapping[str, Any], session: int, poll: int) -> Iterator[Finding]:
    heartbeat = number(kafka, "heartbeat.interval.ms", HEARTBEAT_MS)
    if _HEARTBEATS * heartbeat > session and not is_server_side(kafka):
        found = f"heartbeat.interval.ms is {heartbeat}, session.timeout.ms {session}"
        advice = "leave room for three heartbeats in a session, or one that is late ends it"
        yield warning("time-outs", found, advice)
    if poll < _LEAST_POLL_MS:
        found = (
            f"max.poll.interval.ms is {poll}: a call to a server that is slow or away may take 15 s"
        )
        yield warning("time-outs", found, f"give at least {_LEAST_POLL_MS}")


def session_ms(settings: Settings) -> int:
    """Give the session time-out that members of the group ask for, in milliseconds."""
    return number(settings.kafka, "session.timeout.ms", SESSION_MS)


def is_server_side(kafka: Mapping[str, Any]) -> bool:
    """Tell whether the group is one of KIP-848."""
    return str(kafka.get("group.protocol", "")).lower() == "consumer"


def number(values: Mapping[str, Any], name: str, default: int) -> int:
    """Read a number; what is none is the client's to refuse."""
    try:
        return int(values.get(name, default))
    except (TypeError, ValueError):
        return default
