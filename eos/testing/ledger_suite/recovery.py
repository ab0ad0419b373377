# ruff: noqa: D103
# The name of an exercise is its sentence.
"""The seal, one worker that recovers a shard alone, and what recovery puts back."""

import dataclasses
import time

from eos.core.rules import Verdict
from eos.testing.ledger_suite.desk import BASE, GENERATION, Desk, Exercise, Rec, Rig, expect

FRESH, AGAIN, SETTLED = Verdict.FRESH, Verdict.AGAIN, Verdict.SETTLED
DUPLICATE = Verdict.DUPLICATE


def a_new_shard_is_closed(rig: Rig) -> None:
    desk = Desk(rig)
    desk.take(0)
    desk.closed(desk.claims(0, 0, Rec("a")))
    expect(desk.lock().sealed, False, "sealed")


def a_loss_closes_the_ledger(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    rig.lose()
    desk.closed(desk.claims(0, 1, Rec("b")))
    recovery = desk.lock()
    expect((recovery.sealed, dict(recovery.claimed)), (False, {}), "sealed, and claimed")


def another_identity_closes_the_ledger_and_keeps_what_it_has(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"), frontier=0)
    rig.restart()
    desk.closed(desk.claims(0, 2, Rec("c")))
    recovery = desk.lock()
    expect((recovery.sealed, dict(recovery.claimed)), (False, {0: 2}), "sealed, and claimed")
    desk.open({0: 1, 1: 0})
    expect(desk.verdicts(1, 0, Rec("a")), [DUPLICATE], "a copy of what was there before")
    expect(desk.verdicts(0, 0, Rec("a"), Rec("b")), [SETTLED, AGAIN], "the owners themselves")


def a_closed_ledger_writes_nothing(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    rig.restart()
    desk.closed(desk.claims(0, 1, Rec("b"), frontier=1), desk.claims(1, 0, Rec("c"), frontier=0))
    desk.open({0: 0, 1: 0})
    taken = desk.take(0)[0]
    expect((taken.claimed, taken.floor), (1, 0), "claimed and floor")
    expect(desk.verdicts(1, 0, Rec("b"), Rec("c")), [FRESH, FRESH], "keys that were refused")


def closed_comes_before_fenced_and_gap(rig: Rig) -> None:
    desk = Desk.opened(rig)
    old = desk.epochs[0]
    desk.take(0)
    rig.restart()
    desk.closed(desk.claims(0, 7, Rec("a"), epoch=old))


def a_take_over_works_on_a_closed_shard(rig: Rig) -> None:
    desk = Desk(rig)
    taken = desk.take(0, 3)
    expect({p: (t.claimed, t.floor) for p, t in taken.items()}, {0: (0, 0), 3: (0, 0)}, "taken")


def the_seal_is_confirmed_while_it_stands(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    expect(desk.ledger.confirm(desk.shard, seal), True, "confirm")
    expect(desk.ask(desk.claims(1, 0, Rec("b"))).seal, seal, "the seal of a later batch")
    desk.take(0)
    expect(desk.ledger.confirm(desk.shard, seal), True, "confirm after a take-over")
    expect(desk.ledger.confirm(desk.shard, ""), False, "confirm of no seal")


def a_seal_is_not_confirmed_after_a_loss(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    rig.lose()
    expect(desk.ledger.confirm(desk.shard, seal), False, "confirm after a loss")
    # The same server, the same worker: only the opening is another.
    desk.open({0: 0, 1: 0})
    expect(desk.ledger.confirm(desk.shard, seal), False, "the old seal after re-opening")
    new = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    expect(desk.ledger.confirm(desk.shard, new), True, "the new seal")


def a_seal_is_not_confirmed_under_another_identity(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    rig.restart()
    expect(desk.ledger.confirm(desk.shard, seal), False, "confirm by another server")
    desk.open({0: 0, 1: 0})
    expect(desk.ledger.confirm(desk.shard, seal), False, "the old seal after re-opening")


def a_shard_that_is_sealed_keeps_its_seal_when_it_is_opened(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    expect(desk.lock("other").sealed, True, "sealed")
    expect(desk.ledger.open(desk.shard, desk.lock("other"), {}, {}), True, "open")
    expect(desk.ledger.confirm(desk.shard, seal), True, "confirm")


def one_worker_at_a_time_recovers(rig: Rig) -> None:
    desk = Desk(rig)
    first = desk.lock("first")
    expect(desk.ledger.lock(desk.shard, "second", 60), None, "the lock for somebody else")
    expect(desk.lock("first").identity, first.identity, "the lock for who holds it")
    expect(desk.ledger.open(desk.shard, first, {}, {}), True, "open")
    desk.lock("second")


def the_lock_runs_out_and_can_be_prolonged(rig: Rig) -> None:
    desk = Desk(rig)
    held = desk.lock("first", 60)
    desk.lock("first", 0.02)
    time.sleep(0.05)  # the server's own clock must pass the end; longer does no harm
    desk.lock("second")
    expect(desk.ledger.open(desk.shard, held, {}, {}), False, "open after the lock ran out")
    desk.closed(desk.claims(0, 0, Rec("a")))


def without_the_lock_nothing_is_put_back_and_nothing_opened(rig: Rig) -> None:
    desk = Desk(rig)
    held = desk.lock()
    for wrong in (
        dataclasses.replace(held, token="other"),  # noqa: S106 - it names who holds a lock
        dataclasses.replace(held, identity="another server"),
    ):
        put_back = desk.ledger.reassert(desk.shard, wrong, desk.assertion(0, 0, Rec("a")))
        expect(put_back, False, "re-assert without the lock")
        expect(desk.ledger.open(desk.shard, wrong, {0: 9}, {}), False, "open without the lock")
    desk.open({0: 0, 1: 0})
    desk.take(0, 1)
    expect(desk.take(0)[0].claimed, 0, "claimed")
    expect(desk.verdicts(1, 0, Rec("a")), [FRESH], "the key that was not put back")


def a_recovery_does_not_outlive_the_server_it_ran_against(rig: Rig) -> None:
    desk = Desk(rig)
    recovery = desk.lock()
    rig.restart()
    put_back = desk.ledger.reassert(desk.shard, recovery, desk.assertion(0, 0, Rec("a")))
    expect(put_back, False, "re-assert on another server")
    expect(desk.ledger.open(desk.shard, recovery, {0: 0}, {}), False, "open on another server")
    desk.closed(desk.claims(0, 0, Rec("a")))


def a_recovery_does_not_outlive_a_loss(rig: Rig) -> None:
    # What was put back before the loss is gone. The worker prolongs its lock, which is a new
    # one, and goes on: it must not open a ledger that lacks half of the owners.
    desk = Desk(rig)
    recovery = desk.lock()
    expect(desk.ledger.reassert(desk.shard, recovery, desk.assertion(0, 0, Rec("a"))), True, "")
    rig.lose()
    desk.lock()
    put_back = desk.ledger.reassert(desk.shard, recovery, desk.assertion(0, 1, Rec("b")))
    expect(put_back, False, "re-assert after a loss")
    expect(desk.ledger.open(desk.shard, recovery, {0: 2}, {}), False, "open after a loss")
    desk.closed(desk.claims(0, 2, Rec("c")))


def owners_that_are_put_back_suppress_copies(rig: Rig) -> None:
    desk = Desk(rig)
    recovery = desk.lock()
    stretch = desk.assertion(0, 0, Rec("a"), Rec(None), Rec("b"), end=4)
    expect(desk.ledger.reassert(desk.shard, recovery, stretch), True, "re-assert")
    expect(dict(desk.lock().claimed), {0: 4}, "claimed after re-asserting")
    expect(desk.ledger.open(desk.shard, recovery, {0: 2, 1: 0}, {}), True, "open")
    desk.take(0, 1)
    expect(desk.verdicts(1, 0, Rec("a"), Rec("b")), [DUPLICATE, DUPLICATE], "copies")
    want = [SETTLED, SETTLED, AGAIN]
    expect(desk.verdicts(0, 0, Rec("a"), Rec(None), Rec("b")), want, "the owners themselves")


def a_position_that_is_known_to_be_handled_overrules_the_owner(rig: Rig) -> None:
    # An old dump was put back: it has "a" owned by 0@0, and the log says that 1@0 was handled.
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b", time=BASE + GENERATION))
    rig.restart()
    facts = desk.assertion(1, 0, Rec("a"), Rec("b"), Rec("c"), settled=True)
    expect(desk.advance({}), 2, "generations before")
    desk.open({0: 0, 1: 3}, {}, facts, facts)
    expect(desk.advance({}), 1, "generations that somebody is left in")
    expect(desk.verdicts(0, 0, Rec("a"), Rec("b"), Rec("c")), [DUPLICATE] * 3, "those overruled")
    again = desk.verdicts(1, 3, Rec("a"), Rec("a", "other"), frontier=3)
    expect(again, [DUPLICATE, Verdict.CONFLICT], "copies on the partition of the owner")


def a_position_that_was_suppressed_owns_nothing_any_more(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"), Rec("c"))
    desk.verdicts(1, 0, Rec("d"))
    rig.restart()
    facts = desk.assertion(
        0, 0, Rec("a"), Rec("b"), Rec("d"), settled=True, audited=frozenset({0, 2})
    )
    desk.open({0: 3, 1: 0}, {}, facts)
    want = [FRESH, DUPLICATE, DUPLICATE, AGAIN]
    found = desk.verdicts(1, 1, Rec("a"), Rec("b"), Rec("c"))
    expect([*found, *desk.verdicts(1, 0, Rec("d"))], want, "claims afterwards")


def what_is_put_back_as_settled_counts_as_told_of(rig: Rig) -> None:
    desk = Desk(rig)
    recovery = desk.lock()
    expect((dict(recovery.claimed), dict(recovery.floors)), ({}, {}), "claimed and floors")
    facts = desk.assertion(0, 0, Rec("a"), end=4, settled=True)
    doubts = desk.assertion(1, 0, Rec("b"), end=5)
    for stretch in (facts, doubts):
        expect(desk.ledger.reassert(desk.shard, recovery, stretch), True, "re-assert")
    found = desk.lock()
    expect((dict(found.claimed), dict(found.floors)), ({0: 4, 1: 5}, {0: 4}), "both, afterwards")


def putting_back_replaces_no_owner(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    recovery = desk.lock()
    desk.ledger.reassert(desk.shard, recovery, desk.assertion(1, 0, Rec("a"), Rec("b")))
    desk.ledger.reassert(desk.shard, recovery, desk.assertion(1, 0, Rec("a"), Rec("b")))
    expect(desk.verdicts(0, 0, Rec("a")), [AGAIN], "the owner that was there")
    expect(desk.verdicts(1, 0, Rec("a"), Rec("b")), [DUPLICATE, AGAIN], "what was put back")
    desk.ledger.reassert(desk.shard, recovery, desk.assertion(1, 0))
    expect(desk.take(1)[1].claimed, 2, "claimed, which never falls")


def opening_settles_what_lies_below_the_frontiers(rig: Rig) -> None:
    desk = Desk(rig)
    desk.open({0: 5, 1: 0})
    taken = desk.take(0, 1)
    expect((taken[0].claimed, taken[0].floor), (5, 5), "claimed and floor")
    expect(desk.verdicts(0, 4, Rec("a"), Rec("b")), [SETTLED, FRESH], "around the frontier")
    desk.open({0: 3})
    taken = desk.take(0)
    expect((taken[0].claimed, taken[0].floor), (6, 5), "claimed and floor, which never fall")


EXERCISES: tuple[Exercise, ...] = (
    a_new_shard_is_closed,
    a_loss_closes_the_ledger,
    another_identity_closes_the_ledger_and_keeps_what_it_has,
    a_closed_ledger_writes_nothing,
    closed_comes_before_fenced_and_gap,
    a_take_over_works_on_a_closed_shard,
    the_seal_is_confirmed_while_it_stands,
    a_seal_is_not_confirmed_after_a_loss,
    a_seal_is_not_confirmed_under_another_identity,
    a_shard_that_is_sealed_keeps_its_seal_when_it_is_opened,
    one_worker_at_a_time_recovers,
    the_lock_runs_out_and_can_be_prolonged,
    without_the_lock_nothing_is_put_back_and_nothing_opened,
    a_recovery_does_not_outlive_the_server_it_ran_against,
    a_recovery_does_not_outlive_a_loss,
    owners_that_are_put_back_suppress_copies,
    a_position_that_is_known_to_be_handled_overrules_the_owner,
    a_position_that_was_suppressed_owns_nothing_any_more,
    what_is_put_back_as_settled_counts_as_told_of,
    putting_back_replaces_no_owner,
    opening_settles_what_lies_below_the_frontiers,
)
