"""What must hold when a history has healed."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from eos.core.rules import HANDLED, Verdict
from tests.simulation.kafka import Kafka, Outcome, Record


def broken_promises(kafka: Kafka) -> Iterator[str]:
    """Give a sentence for each promise that the committed outcomes break."""
    runs: dict[Record, list[Outcome]] = {r: [] for log in kafka.log for r in log}
    for outcome in kafka.outcomes:
        if outcome.verdict is Verdict.SETTLED:
            yield f"{outcome.record} was settled before it came into a transaction"
        runs[outcome.record].append(outcome)
    yield from _effects(kafka, [found[-1] for found in runs.values() if found])
    for record, found in runs.items():
        if kafka.is_lost(record):
            continue
        if len(found) != 1 + kafka.again[record]:
            yield f"{record} was settled {len(found)} times, not {1 + kafka.again[record]}"
        for before, again in pairwise(found):
            gave_away = before.failed and _is_redriven(kafka, record)
            if (again.verdict in HANDLED) != (before.verdict in HANDLED) and not gave_away:
                yield f"{record} was {before.verdict}, and {again.verdict} in a replay"


def _effects(kafka: Kafka, latest: list[Outcome]) -> Iterator[str]:
    """See that of all records of a key one was handled, and is the one that counts now."""
    applied = Counter(_effect(o.record) for o in latest if o.applied)
    waiting = Counter(
        _effect(o.record) for o in latest if o.failed and not _is_redriven(kafka, o.record)
    )
    # In favour of what was lost: a letter, which tells of itself.
    beside = Counter(_effect(o.record) for o in latest if any(kafka.lost) and o.letter)
    there = (r for records in kafka.log for r in records if not kafka.is_lost(r))
    for effect in sorted(set(map(_effect, there))):
        if applied[effect] + waiting[effect] + beside[effect] == 0:
            yield f"loss: {effect} was never applied"
        if applied[effect] > 1:
            yield f"duplicate: {effect} was applied {applied[effect]} times"
        elif applied[effect] + waiting[effect] > 1:
            yield f"duplicate: {effect} was handled beside the one that failed for good"


def _is_redriven(kafka: Kafka, record: Record) -> bool:
    place = (record.partition, record.offset)
    records = (each for log in kafka.log for each in log)
    return any(each.redriven == place and each.called == record.called for each in records)


def _effect(record: Record) -> str:
    """Name what is applied once: a key, or a position that has none."""
    if record.called >= 0:
        return f"key {record.called}"
    partition, offset = divmod(-1 - record.called, 1000)
    return f"p{partition}@{offset}"
