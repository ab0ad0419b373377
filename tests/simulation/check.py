"""What must hold when a history has healed."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from eos.core.rules import HANDLED, Verdict
from tests.simulation.kafka import Kafka


def broken_promises(kafka: Kafka) -> Iterator[str]:
    """Give a sentence for each promise that the committed outcomes break."""
    times = Counter(outcome.record for outcome in kafka.outcomes)
    applied: defaultdict[int, int] = defaultdict(int)
    for outcome in kafka.outcomes:
        if outcome.verdict in HANDLED and outcome.record.key is not None:
            applied[outcome.record.key] += 1
        if outcome.verdict is Verdict.SETTLED:
            yield f"{outcome.record} was settled and came through a transaction once more"
    for record in (record for records in kafka.log for record in records):
        if times[record] != 1:
            yield f"{record} was settled {times[record]} times"
    for key in sorted({r.key for records in kafka.log for r in records if r.key is not None}):
        if applied[key] == 0:
            yield f"loss: key {key} was never applied"
        if applied[key] > 1:
            yield f"duplicate: key {key} was applied {applied[key]} times"
