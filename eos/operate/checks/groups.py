"""Rules on the consumer group, and on what it has committed."""

from collections.abc import Collection, Iterator, Mapping

from eos.core.ports.preflight import Extent, Group, Offsets
from eos.core.settings import Settings
from eos.operate.checks.finding import Finding, fault, ok, warning
from eos.operate.checks.preferences import is_server_side
from eos.operate.checks.topics import hanging

ASSIGNOR = "cooperative-sticky"
_OFFSETS = "__consumer_offsets"
_GONE = ("DEAD", "EMPTY", "UNKNOWN")


def group(name: str, found: Group, settings: Settings) -> Iterator[Finding]:
    """Judge a group: whether our members could join those that are there.

    Args:
        name: Its name.
        found: How it is.
        settings: Ours.
    """
    what = f"group {name}"
    if found.state in _GONE or not found.members:
        yield ok(what, "no members now")
        return
    count = len(found.members)
    shown = f"{count} member{'s' * (count != 1)}, {found.state.lower().replace('_', ' ')}"
    yield ok(what, f"{shown}, {found.assignor or found.protocol}")
    ours = "consumer" if is_server_side(settings.kafka) else "classic"
    if ours != found.protocol:
        advice = "give all members the same group.protocol"
        told = f"its members speak the {found.protocol} protocol, ours would the {ours} one"
        yield warning(what, told, advice)
    elif ours == "classic" and found.assignor:
        yield from _assignor(what, found, settings)


def _assignor(what: str, found: Group, settings: Settings) -> Iterator[Finding]:
    wanted = str(settings.kafka.get("partition.assignment.strategy", ASSIGNOR)).split(",")
    if found.assignor not in wanted:
        told = (
            f"its members share partitions by {found.assignor}, ours by {', '.join(wanted)}: the "
            "brokers let nobody in whom they have nothing in common with"
        )
        advice = (
            "is it another application's group? If not, stop its members first, or give "
            f"partition.assignment.strategy={found.assignor}"
        )
        yield fault(what, told, advice)


def offsets(
    name: str,
    found: Offsets,
    extents: Mapping[tuple[str, int], Extent],
    missing: Collection[str],
    topics: Collection[str],
) -> Iterator[Finding]:
    """Compare what a group has committed with what is in the log.

    Args:
        name: The group.
        found: What it has committed.
        extents: How far partitions reach.
        missing: Topics that are not there.
        topics: Those that it reads.
    """
    what = f"offsets of {name}"
    for topic, partition in found.unstable:
        told = f"{topic}[{partition}]: the offset stands in a transaction that does not end"
        yield warning(what, told, hanging(_OFFSETS))
    bad = list(_strayed(what, found, extents))
    yield from bad
    for topic in sorted({topic for topic, _ in found.committed} & set(missing)):
        told = f"there are some of topic {topic}, which does not exist"
        advice = "if it was renamed, its records begin anew under the other name; else delete them"
        yield warning(what, told, advice)
    ours = {place: at for place, at in found.committed.items() if place[0] in topics}
    if not bad and not found.unstable:
        lag = sum(max(0, extents[place].end - at) for place, at in ours.items() if place in extents)
        shown = f"{len(ours)} partitions, {lag} offsets behind" if ours else "none yet: it begins"
        yield ok(what, shown)


def _strayed(
    what: str, found: Offsets, extents: Mapping[tuple[str, int], Extent]
) -> Iterator[Finding]:
    for (topic, partition), at in sorted(found.committed.items()):
        extent = extents.get((topic, partition))
        if extent is None or at < 0:
            continue
        if at < extent.start:
            told = (
                f"{topic}[{partition}]: committed {at}, the log begins at {extent.start}: "
                f"{extent.start - at} offsets were removed before they were read"
            )
            advice = (
                "the worker stops there: see what was lost, raise the retention, then set the "
                "offset to where the log begins (kafka-consumer-groups.sh --reset-offsets)"
            )
            yield fault(what, told, advice)
        elif at > extent.end:
            told = f"{topic}[{partition}]: committed {at}, the log ends at {extent.end}"
            advice = (
                "the log was cut off, or another cluster's offsets were copied: find out, then set "
                "the offset (kafka-consumer-groups.sh --reset-offsets)"
            )
            yield fault(what, told, advice)
