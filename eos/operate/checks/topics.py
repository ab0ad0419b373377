"""Rules on topics: those that are read, those that are published to, and our own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from eos.core.ports.preflight import Extent, Topic
from eos.operate.checks.finding import (
    Finding,
    Level,
    fault,
    ok,
    seconds_shown,
    unless,
    warning,
)
from eos.operate.checks.preferences import number
from eos.operate.checks.retention import kept
from eos.operate.checks.subject import Role

_AHEAD_MS = 60_000
_MILLENNIUM_MS = 1_000_000_000_000
_FOR_EVER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a topic that is there.

    Attributes:
        name: Its name.
        role: What it is for.
        topic: How it stands in the cluster.
        settings: Its settings; None if we may not read them.
        extents: How far its partitions reach.
        recovered: Whether owners are put back from it when the ledger was lost.
    """

    name: str
    role: Role
    topic: Topic
    settings: Mapping[str, str] | None
    extents: Mapping[int, Extent]
    recovered: bool = True

    @property
    def what(self) -> str:
        """How its rows are called."""
        return f"topic {self.name}"


def of_topic(
    known: Known, *, window: int, brokers: int, max_bytes: int, now: float
) -> list[Finding]:
    """Judge a topic.

    Args:
        known: What is known of it.
        window: For how long re-sends are recognised, in seconds.
        brokers: How many there are.
        max_bytes: How large a message our client sends.
        now: The time, in seconds since the epoch.
    """
    found = [*_copies(known, brokers), *_silent(known), *_stamps(known, now)]
    if known.settings is not None:
        found += kept(known.what, known.role, known.settings, window, recovered=known.recovered)
        found += _sizes(known, known.settings, max_bytes)
    return [ok(known.what, _shown(known, now)), *found] if _is_mild(found) else found


def unreadable(names: Sequence[str]) -> list[Finding]:
    """Say which topics' settings may not be read."""
    if not names:
        return []
    found = f"settings may not be read of {', '.join(names)}: retention was not compared"
    return [warning("topics", found, "to have it checked, allow DESCRIBE_CONFIGS on them")]


def missing(name: str, role: Role, why_not: str | None) -> Finding:
    """Judge a topic that is not there.

    Args:
        name: Its name.
        role: What it is for.
        why_not: Why it cannot be made; None if it can.
    """
    what = f"topic {name}"
    if role in (Role.SOURCE, Role.TARGET):
        advice = "correct the name, or create it (eos check --create makes it)"
        return fault(what, f"does not exist; {role.purpose}", advice)
    if why_not is not None:
        advice = "allow CREATE and WRITE on it, or create it yourself and allow WRITE"
        return fault(what, f"does not exist and cannot be made: {why_not}; {role.purpose}", advice)
    advice = "the first worker makes it, or eos check --create now"
    return warning(what, f"does not exist yet; {role.purpose}", advice)


def not_made(name: str, why: str) -> Finding:
    """Say that a topic was not made, though that was wanted."""
    advice = "allow CREATE on it, or create it yourself"
    return fault(f"topic {name}", f"was not made: {why}", advice)


def _is_mild(found: Sequence[Finding]) -> bool:
    return not any(each.level is Level.FAULT for each in found)


def _shown(known: Known, now: float) -> str:
    partitions, copies = len(known.topic.copies), min(known.topic.copies, default=0)
    parts = [str(known.role), f"{partitions} partition{'s' * (partitions != 1)}"]
    parts.append(f"{copies} cop{'ies' if copies != 1 else 'y'}")
    if known.settings is not None:
        keeps = number(known.settings, "retention.ms", _FOR_EVER)
        parts.append(f"kept {'for ever' if keeps < 0 else seconds_shown(keeps / 1000)}")
        if known.role is Role.SOURCE:
            parts.append(known.settings.get("message.timestamp.type", ""))
    newest = max((extent.newest for extent in known.extents.values()), default=-1)
    if newest >= 0:
        parts.append(f"newest {seconds_shown(max(0, round(now - newest / 1000)))} old")
    return ", ".join(part for part in parts if part)


def _copies(known: Known, brokers: int) -> Iterator[Finding]:
    what, topic = known.what, known.topic
    if not topic.id.strip("A="):
        found = "has no topic id: the brokers are too old"
        yield fault(what, found, "eos needs Kafka 3.1 or newer, with topic ids (KIP-516)")
    if topic.leaderless:
        listed = ", ".join(map(str, topic.leaderless))
        found = f"nobody leads partition {listed}: it can be neither read nor published to"
        yield fault(what, found, "bring the brokers back that have its copies")
    if min(topic.copies, default=0) == 1 < brokers:
        found = "has one copy: a broker that is lost takes its records along"
        yield warning(what, found, "add copies (kafka-reassign-partitions.sh); three is usual")
    if known.settings is not None:
        yield from _in_sync(known, known.settings, brokers)


def _silent(known: Known) -> Iterator[Finding]:
    if known.role not in (Role.SOURCE, Role.AUDIT):
        return
    silent = {*range(len(known.topic.copies))} - {*known.extents} - {*known.topic.leaderless}
    if silent:
        listed = ", ".join(map(str, sorted(silent)))
        found = f"partition {listed}: its leader does not say how far it reaches"
        yield fault(known.what, found, "see whether that broker hangs, and run it again")


def _in_sync(known: Known, settings: Mapping[str, str], brokers: int) -> Iterator[Finding]:
    what, topic = known.what, known.topic
    least = number(settings, "min.insync.replicas", 1)
    copies = min(topic.copies, default=least)
    if least > copies:
        found = f"min.insync.replicas is {least}, copies are {copies}: nothing can be published"
        yield fault(what, found, "lower min.insync.replicas, or add copies")
    elif least > brokers:
        found = f"min.insync.replicas is {least}, brokers are {brokers}: nothing can be published"
        yield fault(what, found, "start more brokers, or lower min.insync.replicas")
    elif short := [p for p, count in enumerate(topic.in_sync) if 0 < count < least]:
        listed = ", ".join(map(str, short))
        found = f"partition {listed}: fewer copies in sync than min.insync.replicas ({least})"
        yield fault(what, found, "bring the brokers back that are away")
    if least == 1 < copies and known.role is not Role.POSITIONS:
        found = f"min.insync.replicas is 1: a record is acknowledged with one of {copies} copies"
        advice = "set it to 2, or the loss of one broker may lose records"
        yield warning(what, found, advice)
    if settings.get("unclean.leader.election.enable") == "true":
        found = "unclean.leader.election.enable: a broker that lags behind may become leader"
        advice = "set it to false, or records that were acknowledged, and settled, may be lost"
        yield warning(what, found, advice)


def _sizes(known: Known, settings: Mapping[str, str], max_bytes: int) -> Iterator[Finding]:
    if known.role is Role.SOURCE:
        return
    taken = number(settings, "max.message.bytes", max_bytes)
    if taken < max_bytes and known.role is not Role.POSITIONS:
        found = f"takes messages up to {taken} bytes, our client sends up to {max_bytes}"
        advice = (
            f"set max.message.bytes to {max_bytes} or more, or the client's message.max.bytes to "
            f"{taken}: what lies between is refused by the brokers, at the price of an abort"
        )
        yield warning(known.what, found, advice)


def _stamps(known: Known, now: float) -> Iterator[Finding]:
    if known.role is not Role.SOURCE:
        return
    stamps = {p: e for p, e in known.extents.items() if e.newest >= 0}
    late = {p: e for p, e in stamps.items() if e.newest > now * 1000 + _AHEAD_MS}
    early = {p: e for p, e in stamps.items() if e.newest < _MILLENNIUM_MS}
    if late:
        partition, extent = max(late.items(), key=lambda each: each[1].newest)
        by = seconds_shown(round(extent.newest / 1000 - now))
        found = f"[{partition}]@{extent.newest_at} is {by} ahead of our clock"
        advice = (
            "correct the producer's clock, or ours: the brokers keep such a record, and all of its "
            "segment, for so much longer. It is filed as of now"
        )
        yield warning(known.what, found, advice)
    if early:
        partition, extent = next(iter(early.items()))
        found = (
            f"[{partition}]: the newest time stamp is {extent.newest}, which is before 2001: "
            "seconds for milliseconds? Such a record leaves the window at once"
        )
        advice = "have its producer write milliseconds, or set message.timestamp.type=LogAppendTime"
        yield warning(known.what, found, advice)


def open_transactions(
    extents: Mapping[tuple[str, int], Extent], now: float, patience: float
) -> list[Finding]:
    """Judge transactions that readers of committed records wait for.

    Args:
        extents: How far partitions of topics reach.
        now: The time, in seconds since the epoch.
        patience: After how many seconds a transaction has been open for too long.
    """
    found = []
    for (name, partition), extent in sorted(extents.items()):
        since = extent.waits_since
        if extent.stable == extent.end or since is None or now - since / 1000 <= patience:
            continue
        told = (
            f"readers of [{partition}] wait at {extent.stable}, {extent.end - extent.stable} "
            "offsets before its end, for a transaction that has been open for "
            f"{seconds_shown(round(now - since / 1000))}"
        )
        found.append(warning(f"topic {name}", told, hanging(name, partition)))
    return unless(found, ok("open transactions", "none that holds up readers for long"))


def hanging(topic: str, partition: int | None = None) -> str:
    """Say what names, and ends, a hanging transaction."""
    where = topic if partition is None else f"{topic} --partition {partition}"
    return (
        "if its producer is gone: kafka-transactions.sh --bootstrap-server … find-hanging --topic "
        f"{where}, then abort"
    )
