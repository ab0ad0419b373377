"""What must hold when a history has healed."""

from collections import Counter
from collections.abc import Iterator

from eos.core.rules import HANDLED, Verdict
from tests.simulation.kafka import Kafka, Record


def broken_promises(kafka: Kafka) -> Iterator[str]:
    """Give a sentence for each promise that the committed outcomes break."""
    times = Counter(outcome.record for outcome in kafka.outcomes)
    applied = Counter(_effect(o.record) for o in kafka.outcomes if o.verdict in HANDLED)
    records = [record for partition in kafka.log for record in partition]
    for outcome in kafka.outcomes:
        if outcome.verdict is Verdict.SETTLED:
            yield f"{outcome.record} was settled before it came into a transaction"
    for effect in sorted({_effect(record) for record in records}):
        if applied[effect] == 0:
            yield f"loss: {effect} was never applied"
        if applied[effect] > 1:
            yield f"duplicate: {effect} was applied {applied[effect]} times"
    for record in records:
        if times[record] != 1:
            yield f"{record} was settled {times[record]} times"


def _effect(record: Record) -> str:
    """Name what is applied once: a key, or a position that has none."""
    return str(record) if record.key is None else f"key {record.key}"
