"""What a worker does where the log has let go of records: as `eos.operate.gaps` tells it."""

from functools import partial

from eos.core.frontier import Frontier
from eos.core.ports import Suppressed
from eos.core.rules import Owner, Verdict
from eos.operate.gaps import in_vain
from tests.simulation.actor import Actor, Fate, Rewind, Steps
from tests.simulation.recovery import recover


def mend(actor: Actor, partition: int, assignment: int, epoch: int, gap: range) -> Steps[None]:
    """Let nobody own a key in a gap, publish copies again, and move the frontier over it."""
    on, ledger, kafka = actor.world.on, actor.world.ledger, actor.world.kafka
    actor.tell("finds a gap in p{}: {}", partition, gap)
    if on.gap_proved:
        yield from _prove(actor, partition, assignment, gap)
    if not on.gap_frontier_last:
        yield from _move(actor, partition, assignment, gap)
    if on.gap_audited:
        yield
        owner = Owner(partition, gap.stop, 0)
        kafka.note(Suppressed(partition, gap.start, b"", owner, Verdict.SETTLED, 0, None))
    if on.gap_voids:
        void = partial(ledger.void, partition, epoch, gap)
        if not (yield from actor.call("void", void)):
            raise Rewind("somebody else has the partition")
    if on.gap_unseals:
        yield from actor.call("unseal", ledger.unseal)
    while not (yield from actor.call("look", ledger.sealed)):
        yield from recover(actor)
    if on.gap_redrives:
        yield from _redrive(actor)
    if on.gap_frontier_last:
        yield from _move(actor, partition, assignment, gap)


def _prove(actor: Actor, partition: int, assignment: int, gap: range) -> Steps[None]:
    """See that the partition is ours: what somebody else has in flight of it is not lost."""
    yield from _move(actor, partition, assignment, range(gap.start, gap.start))
    if (yield from actor.frontier(partition, stable=True)).offset != gap.start:
        raise Rewind("the frontier was moved meanwhile")


def _redrive(actor: Actor) -> Steps[None]:
    world, kafka = actor.world, actor.world.kafka
    yield
    end = kafka.audit_end(stable=not world.on.gap_audit_to_end)
    yield from actor.wait_for(lambda: kafka.audit_end(stable=True) >= end)
    for copy in in_vain(kafka.entries(end)):
        found = [r for r in kafka.log[copy.partition] if r.offset == copy.offset]
        for record in found:
            yield
            fate = world.fate()
            for _ in range(1 + (fate is not Fate.FINE)):  # nobody knows: it does it again
                place = (copy.partition, copy.offset)
                again = kafka.append(copy.partition, record.called, record.fingerprint, place)
                world.appended(again)


def _move(actor: Actor, partition: int, assignment: int, gap: range) -> Steps[None]:
    yield
    if actor.assigned.get(partition) != assignment:
        raise Rewind("the partition was given away")
    actor.world.kafka.move(actor.name, actor.generation, partition, Frontier(gap.stop))
    actor.tell("moves p{} over its gap to {}", partition, gap.stop)
