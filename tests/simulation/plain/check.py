"""What must hold when a history has healed, by policy."""

from collections import defaultdict
from collections.abc import Iterator

from tests.simulation.plain.effects import Effect
from tests.simulation.plain.world import World

Grouped = dict[str, list[Effect]]


def broken_promises(world: World) -> Iterator[str]:
    """Give a sentence for each promise that the effects break."""
    effects: Grouped = defaultdict(list)
    for effect in world.effects:
        if effect.happened_at is not None:
            effects[effect.entry.effect].append(effect)
    yield from _lost(world, effects)
    for name, several in effects.items():
        for index in range(1, len(several)):
            if not _excused(world, several[:index], several[index]):
                yield f"duplicate: {name}, again at {several[index].entry}"
    if not world.rewinds:
        yield from _disorder(world, effects)


def _lost(world: World, effects: Grouped) -> Iterator[str]:
    """Give what never had its effect, as far as the policy promises that it has."""
    rejected = {letter.effect for letter in world.kafka.letters}
    names = {entry.effect for log in world.kafka.log for entry in log}
    lost = sorted(names - set(effects) - rejected)
    if world.policy != "skip":
        yield from (f"loss: {name} never had its effect" for name in lost)
        return
    interruptions = world.interruptions + sum(worker.handling for worker in world.live)
    if not world.losses and len(lost) > interruptions:
        yield f"loss: {lost} after {interruptions} interruptions"


def _excused(world: World, earlier: list[Effect], again: Effect) -> bool:
    """Tell whether the tier promises nothing against this second effect."""
    if again.by_zombie and _had_passed(world, again):
        return True
    if world.policy == "retry" and again.in_doubt:
        return True
    if _in_flight(earlier, again):
        return True
    if world.policy == "reconcile" and any(_unknowable(world, e, again) for e in earlier):
        return True
    return _announced(world, earlier, again)


def _had_passed(world: World, effect: Effect) -> bool:
    """Tell whether a zombie was let pass before it was replaced.

    With policy `retry` that is the batch that it had claimed, else the one record that it had
    marked. What it hands out carries an older token than one that was given out before. A ledger
    that was lost meanwhile knows of no newer token, until it hears of it again.
    """
    passed = effect.passed.claimed if world.policy == "retry" else effect.passed.marked
    return world.losses > 0 or (effect.replaced_at is not None and passed <= effect.replaced_at)


def _in_flight(earlier: list[Effect], again: Effect) -> bool:
    """Tell whether it was in flight when the ledger was lost, and others carry the flag.

    With policy `retry` a batch that was claimed before the loss is handled to its end, with
    `reconcile` the record that is in hand. After the re-opening a copy of it may be handed out,
    in doubt, before that.
    """
    return all(e.in_doubt and again.passed.claimed < e.passed.claimed for e in earlier)


def _unknowable(world: World, effect: Effect, again: Effect) -> bool:
    """Tell whether an effect came too late for the question that was asked before another.

    It was in flight, at a worker that had been replaced, or at another partition's in doubt.
    """
    assert effect.happened_at is not None
    return effect.happened_at >= again.handed_at and (effect.late or world.losses > 0)


def _announced(world: World, earlier: list[Effect], again: Effect) -> bool:
    """Tell whether the user asked for it to be handled again, and it was not since."""
    return any(
        at <= again.handed_at
        and partition == again.entry.partition
        and offset <= again.entry.offset
        and not any(e.entry == again.entry and e.passed.claimed > at for e in earlier)
        for at, partition, offset in world.rewinds
    )


def _disorder(world: World, effects: Grouped) -> Iterator[str]:
    """Give what had its first effect after what stands behind it."""
    firsts = sorted((several[0] for several in effects.values()), key=lambda e: e.turn)
    highest: dict[int, int] = {}
    for effect in firsts:
        partition, offset, _ = effect.entry
        if effect.by_zombie or (world.losses and effect.in_doubt):
            continue  # it may have been suppressed before the loss, in favour of a copy
        if offset < highest.get(partition, -1):
            yield f"disorder: {effect.entry} came after p{partition}@{highest[partition]}"
        highest[partition] = max(offset, highest.get(partition, -1))
