# ruff: noqa: D103
# The name of an exercise is its sentence.
"""What an operator sees of a ledger: `eos.core.ports.inspection`."""

from typing import cast

from eos.core.ports.inspection import GenerationState, Inspection, PartitionState, Surgery
from eos.core.rules import Admission, Owner, Verdict
from eos.testing.ledger_suite.desk import (
    BASE,
    GENERATION,
    Desk,
    Exercise,
    Rec,
    Rig,
    digest,
    expect,
    fingerprint,
)


def _of(desk: Desk) -> Inspection:
    return cast("Inspection", desk.ledger)


def a_look_at_a_new_shard_finds_nothing_and_makes_nothing(rig: Rig) -> None:
    desk = Desk(rig)
    for _ in range(2):
        found = _of(desk).look(desk.shard)
        expect((found.sealed, found.recovering), (False, False), "sealed, and being recovered")
        expect((dict(found.partitions), list(found.generations)), ({}, []), "what is known")
    expect(_of(desk).owners(desk.shard, [digest("a")]), {}, "owners")


def a_look_shows_partitions_and_how_many_owners_there_are(rig: Rig) -> None:
    desk = Desk.opened(rig)
    epoch = desk.take(0)[0].epoch
    desk.verdicts(0, 0, Rec("a"), Rec("b"), Rec("c", time=BASE + GENERATION), frontier=1)
    found = _of(desk).look(desk.shard)
    expect(found.sealed, True, "sealed")
    expect(found.partitions[0], PartitionState(epoch, 3, 1, 0), "the partition")
    end = (BASE // GENERATION + 1) * GENERATION
    want = [GenerationState(end, 1), GenerationState(end + GENERATION, 1)]
    expect(list(found.generations), want, "generations")


def a_look_shows_a_broken_seal_and_whoever_recovers(rig: Rig) -> None:
    desk = Desk.opened(rig)
    rig.restart()
    expect(_of(desk).look(desk.shard)[:2], (False, False), "after a restart")
    desk.lock()
    expect(_of(desk).look(desk.shard)[:2], (False, True), "while it is recovered")


def a_broken_seal_is_recovered_from_what_is_known(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"), frontier=0)).seal
    cast("Surgery", desk.ledger).unseal(desk.shard)
    expect(_of(desk).look(desk.shard).sealed, False, "sealed")
    expect(desk.ledger.confirm(desk.shard, seal), False, "confirm")
    desk.refused(Admission.CLOSED, -1, desk.claims(0, 0, Rec("a")))
    desk.open({0: 0, 1: 0})
    expect(desk.verdicts(0, 0, Rec("a")), [Verdict.AGAIN], "the owner")


def what_is_purged_is_forgotten_and_closed(rig: Rig) -> None:
    desk = Desk.opened(rig)
    surgery = cast("Surgery", desk.ledger)
    desk.verdicts(0, 0, *(Rec(f"key-{n}", time=BASE + n * 60) for n in range(300)), frontier=7)
    expect(surgery.purge(desk.shard), True, "purged")
    found = _of(desk).look(desk.shard)
    expect((found.sealed, found.recovering), (False, False), "sealed, and being recovered")
    expect([each for each in found.generations if each.owners], [], "generations")
    expect(_of(desk).owners(desk.shard, [digest("key-3")]), {}, "owners")
    desk.refused(Admission.CLOSED, -1, desk.claims(0, 0, Rec("a")))
    desk.open({0: 0, 1: 0})
    desk.take(0, 1)
    expect(desk.verdicts(1, 0, Rec("key-3")), [Verdict.FRESH], "a key that was owned")
    expect(surgery.purge(desk.shard), True, "purged again")
    expect(surgery.purge(desk.shard), True, "though there is nothing")


def nothing_is_purged_while_it_is_recovered(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    desk.lock()
    expect(cast("Surgery", desk.ledger).purge(desk.shard), False, "purged")
    expect(desk.verdicts(0, 0, Rec("a")), [Verdict.AGAIN], "the owner")


def owners_are_told_of_every_live_generation(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b", time=BASE + GENERATION))
    desk.verdicts(1, 0, Rec("b"), Rec("c", "payload"))
    asked = [digest(key) for key in ("a", "b", "c", "nobody's")]
    want = {
        digest("a"): Owner(0, 0, fingerprint(Rec("a").payload)),
        digest("b"): Owner(0, 1, fingerprint(Rec("b").payload)),
        digest("c"): Owner(1, 1, fingerprint("payload")),
    }
    expect(_of(desk).owners(desk.shard, asked), want, "owners")


EXERCISES: tuple[Exercise, ...] = (
    a_look_at_a_new_shard_finds_nothing_and_makes_nothing,
    a_look_shows_partitions_and_how_many_owners_there_are,
    a_look_shows_a_broken_seal_and_whoever_recovers,
    a_broken_seal_is_recovered_from_what_is_known,
    what_is_purged_is_forgotten_and_closed,
    nothing_is_purged_while_it_is_recovered,
    owners_are_told_of_every_live_generation,
)
