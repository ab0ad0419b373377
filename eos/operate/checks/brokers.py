"""Rules on the cluster as a whole."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from eos.core.ports.preflight import Cluster
from eos.operate.checks.finding import Finding, fault, ok, seconds_shown, unless, warning
from eos.operate.checks.preferences import (
    RELAY_SESSION_MS,
    is_server_side,
    number,
    session_ms,
)
from eos.operate.checks.subject import Subject

TRANSACTION_MS = 10_000
_MINUTES = 60
_HOUR_MS = 3_600_000
_LONE = (
    "one broker: if it goes down with a transaction open it may lose the transaction's markers, "
    "and the group waits for ever (seen with Kafka 4.3.1)"
)
_LONE_ADVICE = "run three brokers; on one, kafka-transactions.sh find-hanging names what hangs"


class _Internal(NamedTuple):
    """A topic that the brokers keep for themselves, and the settings of theirs that shape it."""

    name: str
    copies: str
    least: str | None
    without: str


INTERNAL = (
    _Internal(
        "__consumer_offsets",
        "offsets.topic.replication.factor",
        None,
        "no group can be joined",
    ),
    _Internal(
        "__transaction_state",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
        "no transaction can begin",
    ),
)


def cluster(found: Cluster, settings: Mapping[str, str] | None) -> Iterator[Finding]:
    """Say which cluster it is, and whether a broker stands alone.

    Args:
        found: The cluster.
        settings: A broker's settings; None if we may not read them.
    """
    count = len(found.brokers)
    shown = f"{count} broker{'s' * (count != 1)}, cluster {found.id}"
    yield ok("brokers", f"{shown}{_version(settings)}")
    if count == 1:
        yield warning("brokers", _LONE, _LONE_ADVICE)
    if settings is None:
        shown = "the brokers' settings may not be read: time-outs and copies were not compared"
        advice = "to have them checked, allow DESCRIBE_CONFIGS on the cluster"
        yield warning("broker settings", shown, advice)


def broker_settings(
    settings: Mapping[str, str], subject: Subject, brokers: int
) -> Iterator[Finding]:
    """Compare the brokers' settings with ours.

    Args:
        settings: A broker's.
        subject: What is checked.
        brokers: How many there are.
    """
    yield from _transactions(settings, subject)
    yield from _offsets(settings, subject)
    yield from _sessions(settings, subject)
    yield from _internal(settings, brokers)


def _version(settings: Mapping[str, str] | None) -> str:
    if settings is None:
        return ""
    # The brokers' protocol tells no version; until 4.0 this setting did.
    old = settings.get("inter.broker.protocol.version")
    return f", Kafka {old}" if old else ", Kafka 4.0 or newer"


def _transactions(settings: Mapping[str, str], subject: Subject) -> Iterator[Finding]:
    name = "transaction.max.timeout.ms"
    longest = number(settings, name, TRANSACTION_MS)
    if longest < TRANSACTION_MS:
        found = f"{name} is {longest}: the transactions of eos, of 10 s, are refused"
        yield fault("transactions", found, f"set {name} to {TRANSACTION_MS} or more")
    name = "transactional.id.expiration.ms"
    expires = number(settings, name, _HOUR_MS)
    if expires < _HOUR_MS:
        found = (
            f"{name} is {seconds_shown(expires / 1000)}: a worker that was idle for so long is "
            "refused, and must make its producer anew"
        )
        yield warning("transactions", found, f"set {name} to a day or more (default: 7 days)")
    if subject.transactional and min(longest, TRANSACTION_MS) == TRANSACTION_MS:
        shown = (
            f"up to {seconds_shown(longest / 1000)}; ids kept for {seconds_shown(expires / 1000)}"
        )
        yield ok("transactions", shown)


def _offsets(settings: Mapping[str, str], subject: Subject) -> Iterator[Finding]:
    name = "offsets.retention.minutes"
    if name not in settings:
        return
    kept = number(settings, name, 0) * _MINUTES
    window = subject.settings.window_seconds
    shown = f"committed offsets outlive their group by {seconds_shown(kept)}"
    if kept < window:
        found = (
            f"{shown}, less than the window of {seconds_shown(window)}: a group that was stopped "
            "for longer begins anew"
        )
        advice = f"set {name} to {-(-window // _MINUTES)} or more on the brokers"
        yield warning("offsets", found, advice)
    else:
        yield ok("offsets", shown)


def _sessions(settings: Mapping[str, str], subject: Subject) -> Iterator[Finding]:
    least = number(settings, "group.min.session.timeout.ms", 0)
    most = number(settings, "group.max.session.timeout.ms", 2**31)
    kafka = subject.settings.kafka
    if is_server_side(kafka):
        known = settings.get("group.coordinator.rebalance.protocols", "consumer")
        if "consumer" not in known:
            found = f"group.protocol=consumer, and the brokers know {known} only"
            yield fault("time-outs", found, "leave group.protocol out")
        return
    asked = {}
    if subject.consumes:
        asked["workers"] = session_ms(subject.settings)
    if subject.relays:
        asked["relays"] = number(kafka, "session.timeout.ms", RELAY_SESSION_MS)
    for who, session in asked.items():
        if not least <= session <= most:
            found = (
                f"session.timeout.ms of {who} is {session}; the brokers take {least} to {most}, "
                "and let nobody else into a group"
            )
            advice = "give a session.timeout.ms between them, or move the brokers' bounds"
            yield fault("time-outs", found, advice)


def _internal(settings: Mapping[str, str], brokers: int) -> Iterator[Finding]:
    for name, copies, least, without in INTERNAL:
        wanted = number(settings, copies, 1)
        if least is not None and number(settings, least, 1) > wanted:
            found = f"{least} is {settings[least]}, {copies} {wanted}: {without}"
            yield fault(name, found, f"lower {least}, or raise {copies}")
        if wanted == 1 < brokers:
            found = f"{copies} is 1: while the broker that has the only copy is away, {without}"
            advice = f"set {copies} to 3, and add copies where {name} is there already"
            yield warning(name, found, advice)


def internal_topics(
    there: Mapping[str, tuple[int, ...]], settings: Mapping[str, str], brokers: int
) -> list[Finding]:
    """See that the brokers' own topics are there, or can be made.

    Args:
        there: Those that are there, and how many copies of each of their partitions are in sync.
        settings: A broker's.
        brokers: How many there are.
    """
    return unless(
        _lacking(there, settings, brokers), ok("internal topics", "there, or can be made")
    )


def _lacking(
    there: Mapping[str, tuple[int, ...]], settings: Mapping[str, str], brokers: int
) -> Iterator[Finding]:
    for name, copies, least, without in INTERNAL:
        wanted = number(settings, copies, 1)
        if name not in there and wanted > brokers:
            found = f"cannot be made: {copies} is {wanted}, brokers are {brokers}: {without}"
            yield fault(name, found, f"start more brokers, or set {copies} to {brokers}")
        needed = number(settings, least or "min.insync.replicas", 1)
        short = [number for number, n in enumerate(there.get(name, ())) if n < needed]
        if short:
            found = f"{len(short)} partitions have fewer than {needed} copies in sync: {without}"
            yield fault(name, found, "bring the brokers back that are away")
