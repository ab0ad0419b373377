"""Recovery, as whoever sees CLOSED does it: the ledger is rebuilt from the log."""

from eos.core.rules import reread
from tests.simulation.actor import Actor, Rewind, Steps
from tests.simulation.kafka import Record
from tests.simulation.ledger import Locked, Recovery

STRETCH = 1
"""How many offsets are put back in one call."""


def recover(actor: Actor) -> Steps[None]:
    """Lock, read the frontiers and the audit, put owners back, open. Give up if it is lost."""
    world, on = actor.world, actor.world.on
    recovery = yield from actor.call("lock", lambda: world.ledger.lock(actor.token))
    if isinstance(recovery, Locked):
        raise Rewind("somebody else recovers", waits=True)
    actor.tell("recovers with {}", recovery)
    suppressed: set[Record] = set()
    if on.audit and not on.audit_after_frontiers:
        suppressed = yield from _audit(actor)
    frontiers = {}
    for partition in range(len(world.kafka.log)) if on.all_partitions else actor.assigned:
        frontiers[partition] = yield from actor.frontier(partition, stable=on.stable_read)
    if on.audit and on.audit_after_frontiers:
        suppressed = yield from _audit(actor)
    actor.tell("recovers up to {}, suppressed: {}", frontiers, sorted(map(str, suppressed)))
    for partition, frontier in frontiers.items():
        offsets = reread(recovery.begin.get(partition, 0), frontier, 0)
        for start in offsets[::STRETCH]:
            stretch = range(start, min(start + STRETCH, offsets.stop))
            if not (yield from _reassert(actor, recovery, partition, stretch, suppressed)):
                actor.tell("has lost its recovery")
                return
    opened = yield from actor.call("open", lambda: world.ledger.open(recovery, frontiers))
    actor.tell("opens the ledger: {}", world.ledger.state.seal if opened else "too late")


def _audit(actor: Actor) -> Steps[set[Record]]:
    yield
    kafka = actor.world.kafka
    if not actor.world.on.audit_to_high_watermark:
        return kafka.audited(kafka.audit_end(stable=True))
    end = kafka.audit_end(stable=False)
    yield from actor.wait_for(lambda: kafka.audit_end(stable=True) >= end)
    return kafka.audited(end)


def _reassert(
    actor: Actor, recovery: Recovery, partition: int, stretch: range, suppressed: set[Record]
) -> Steps[bool]:
    ledger = actor.world.ledger
    records = [
        (record, record in suppressed)
        for record in actor.world.kafka.log[partition]
        if record.offset in stretch
    ]
    actor.tell("puts back p{}[{}..{})", partition, stretch.start, stretch.stop)
    return (
        yield from actor.call(
            "reassert", lambda: ledger.reassert(recovery, partition, stretch.stop, records)
        )
    )
