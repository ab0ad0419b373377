"""Recovery, as `eos.operate.recovery` does it, call by call. This tier keeps no audit."""

from collections.abc import Mapping

from eos.core.errors import RetriableError
from eos.core.ports import Assertion, Recovery
from eos.core.rules import reread
from tests.simulation.plain.actor import Steps, Wire, World
from tests.simulation.plain.lanes import identify

STRETCH = 2
"""How many offsets are put back in one call."""


def recover(
    world: World,
    wire: Wire,
    token: str,
    begins: Mapping[int, int],
    own: set[int],
) -> Steps[None]:
    """Lock, read the frontiers, put owners back, open. Give up if it is lost.

    Args:
        world: The world.
        wire: The way to the ledger.
        token: One for all tries of this worker.
        begins: Where the reading of partitions begins that nothing was settled of.
        own: The worker's own partitions.
    """
    kafka, on = world.kafka, world.on
    yield
    recovery = wire.lock(token)
    yield
    committed = {p: found for p, found in enumerate(kafka.committed) if found is not None}
    if not on.all_partitions:
        committed = {p: found for p, found in committed.items() if p in own}
    frontiers = {p: found.offset for p, found in committed.items()}
    yield
    # Under a good seal the marks are as good; what it lacks of claims never began.
    ours = [p for p, found in committed.items() if found.ours and not recovery.sealed]
    begun = {p: kafka.ends[p] for p in ours}
    for partition, frontier in frontiers.items():
        end = begun.get(partition, frontier) if on.owners_to_end else frontier
        offsets = reread(recovery.claimed.get(partition, 0), end, kafka.starts[partition])
        yield from _reassert(world, wire, recovery, partition, offsets)
    untouched = {p: at for p, at in begins.items() if p not in frontiers}
    yield
    if not wire.open(recovery, frontiers | untouched, begun):
        raise RetriableError("the recovery was overtaken", "recovery")
    world.tell("ledger", "is open again: frontiers {}, begun {}", frontiers | untouched, begun)


def _reassert(
    world: World, wire: Wire, recovery: Recovery, partition: int, offsets: range
) -> Steps[None]:
    log = [entry for entry in world.kafka.log[partition] if entry.offset in offsets]
    for at in range(0, len(log), STRETCH):
        stretch = log[at : at + STRETCH]
        assertion = Assertion(partition, stretch[-1].offset + 1)
        identify(stretch, assertion)
        yield
        wire.lock(recovery.token)
        yield
        if not wire.reassert(recovery, assertion):
            raise RetriableError("the recovery was overtaken", "recovery")
