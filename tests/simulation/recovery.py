"""Recovery, as whoever sees CLOSED does it: the ledger is rebuilt from the log."""

from collections.abc import Mapping
from functools import partial

from eos.core.ports import Assertion, Audited
from eos.core.rules import reread
from eos.operate.rereading import follow, owners_of
from tests.simulation.actor import Actor, Rewind, Steps
from tests.simulation.calls import Locked, Recovery

STRETCH = 1
"""How many offsets are put back in one call."""


def recover(actor: Actor) -> Steps[None]:
    """Lock, read the frontiers and the audit, put owners back, open. Give up if it is lost."""
    recovery = yield from _lock(actor)
    if not (yield from _rebuild(actor, recovery)):
        actor.tell("has lost its recovery")


def load(actor: Actor, replayed: Mapping[int, range]) -> Steps[None]:
    """Put back what an open ledger has forgotten of what is to be handled again."""
    recovery = yield from _lock(actor)
    while not recovery.sealed:
        if not (yield from _rebuild(actor, recovery)):
            raise Rewind("the recovery was overtaken")
        recovery = yield from _lock(actor)
        if not actor.world.on.replay_load_sealed:
            break
    audited = yield from _audit(actor, replayed)
    actor.tell("loads {}; {}", replayed, audited)
    put = yield from _put_back(actor, recovery, replayed, audited, None)
    ledger = actor.world.ledger
    if not put or not (yield from actor.call("open", lambda: ledger.open(recovery, {}))):
        raise Rewind("the recovery was overtaken")


def _lock(actor: Actor) -> Steps[Recovery]:
    recovery = yield from actor.call("lock", lambda: actor.world.ledger.lock(actor.token))
    if isinstance(recovery, Locked):
        raise Rewind("somebody else recovers", waits=True)
    return recovery


def _rebuild(actor: Actor, recovery: Recovery) -> Steps[bool]:
    world, on = actor.world, actor.world.on
    actor.tell("recovers with {}", recovery)
    audited = [Audited() for _ in world.kafka.log]
    if on.audit and not on.audit_after_frontiers:
        audited = yield from _audit(actor, {})
    frontiers, replayed = {}, {}
    for partition in range(len(world.kafka.log)) if on.all_partitions else actor.assigned:
        at = yield from actor.frontier(partition, stable=on.stable_read)
        frontiers[partition] = at.offset
        if at.replay is not None and on.replay_to_peak:
            replayed[partition] = range(at.offset, at.replay.peak)
    if on.audit and on.audit_after_frontiers:
        audited = yield from _audit(actor, replayed)
    actor.tell("recovers up to {}, again {}; {}", frontiers, replayed, audited)

    def known(partition: int, frontier: int) -> int:
        begin = recovery.begin.get(partition, 0)
        return min(begin, frontier) if on.replay_from_frontier else begin

    ranges = {
        partition: reread(
            known(partition, frontier),
            max(frontier, replayed.get(partition, range(0)).stop),
            world.window_start(partition, frontier),
        )
        for partition, frontier in frontiers.items()
    }
    if not on.replay_floor:
        frontiers = {p: max(at, ranges[p].stop) for p, at in frontiers.items()}
    if not (yield from _put_back(actor, recovery, ranges, audited, frontiers)):
        return False
    opened = yield from actor.call("open", lambda: world.ledger.open(recovery, frontiers))
    actor.tell("opens the ledger: {}", world.ledger.state.seal if opened else "too late")
    return opened


def _audit(actor: Actor, replayed: Mapping[int, range]) -> Steps[list[Audited]]:
    yield
    kafka, on = actor.world.kafka, actor.world.on
    end = kafka.audit_end(stable=not on.audit_to_high_watermark)
    if on.audit_to_high_watermark:
        yield from actor.wait_for(lambda: kafka.audit_end(stable=True) >= end)
    found = kafka.audited(end, replayed if on.replay_owners else {})
    if on.replay_follows:
        follow(dict(enumerate(found)), lambda at: dict(enumerate(kafka.audited(end, at))))
    if not on.audit_digests:
        for audited in found:
            audited.suppressed |= {offset for offset, _ in audited.redriven}
    return found


def _put_back(
    actor: Actor,
    recovery: Recovery,
    ranges: Mapping[int, range],
    audited: list[Audited],
    frontiers: Mapping[int, int] | None,
) -> Steps[bool]:
    """Put owners back; with frontiers these are facts. False if the recovery is lost."""
    ledger = actor.world.ledger
    for partition, offsets in ranges.items():
        if gaps := audited[partition].gaps:
            told = partial(ledger.reassert, recovery, Assertion(partition, 0, gaps=gaps))
            if not (yield from actor.call("reassert", told)):
                return False
        for start in offsets[::STRETCH]:
            stretch = range(start, min(start + STRETCH, offsets.stop))
            assertion = _assertion(actor, partition, stretch, audited[partition])
            assertion.settled = frontiers is not None
            for each in (*owners_of(assertion, audited[partition]), assertion):
                actor.tell("puts back p{}[{}..{})", each.partition, stretch.start, stretch.stop)
                request = partial(ledger.reassert, recovery, each)
                if not (yield from actor.call("reassert", request)):
                    return False
    return True


def _assertion(actor: Actor, partition: int, stretch: range, audited: Audited) -> Assertion:
    kafka = actor.world.kafka
    read = [r for r in kafka.log[partition] if r.offset in stretch and not kafka.is_lost(r)]
    assertion = Assertion(
        partition,
        stretch.stop,
        [record.offset for record in read],
        [record.digest for record in read],
        [record.fingerprint for record in read],
        [0 for _ in read],
        redriven={n: record.redriven for n, record in enumerate(read) if record.redriven},
    )
    assertion.audited = audited.own_none(assertion.offsets, assertion.digests)
    return assertion
