# ruff: noqa: D103
# The name of an exercise is its sentence.
"""Plain tier: what may have begun, and frontiers that live in the ledger."""

from eos.core.ports import Claims, Known
from eos.core.record import Shard
from eos.core.rules import Admission, Verdict
from eos.testing.ledger_suite.desk import Desk, Exercise, Rec, Rig, expect

FRESH, AGAIN, SETTLED = Verdict.FRESH, Verdict.AGAIN, Verdict.SETTLED
DUPLICATE = Verdict.DUPLICATE
OPEN, CLOSED, FENCED = Admission.OPEN, Admission.CLOSED, Admission.FENCED


def seal_of(desk: Desk) -> str:
    """Give the seal, by a batch that claims nothing."""
    return desk.ask(desk.claims(0, 0)).seal


def known(desk: Desk, *batch: Claims) -> dict[int, tuple[int, int]]:
    """Claim a batch; give floor and begun of each partition before it."""
    return {p: (told.floor, told.begun) for p, told in desk.ask(*batch).known.items()}


def marks(desk: Desk, *partitions: int) -> dict[int, tuple[int, int]]:
    """Give floor and begun of partitions, by a take-over."""
    return {p: (taken.floor, taken.begun) for p, taken in desk.take(*partitions).items()}


def a_claim_tells_what_had_begun_before_it_and_leaves_its_own_mark(rig: Rig) -> None:
    desk = Desk.opened(rig)
    two = (Rec("a"), Rec("b"))
    expect(known(desk, desk.claims(0, 0, *two, begun=2)), {0: (0, 0)}, "before the first")
    expect(known(desk, desk.claims(0, 0, *two, begun=2)), {0: (0, 2)}, "before the second")
    expect(marks(desk, 0), {0: (0, 2)}, "at a take-over")
    expect(known(desk, desk.claims(0, 2, Rec("c"))), {0: (0, 2)}, "before one that marks nothing")
    expect(marks(desk, 0), {0: (0, 2)}, "after one that marks nothing")


def a_claim_tells_the_highest_frontier_its_own_included(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"), Rec("c"))
    expect(known(desk, desk.claims(0, 3, frontier=3)), {0: (3, 0)}, "a higher one")
    expect(known(desk, desk.claims(0, 0, Rec("a"), frontier=1)), {0: (3, 0)}, "a lower one")


def each_partition_of_a_batch_has_marks_of_its_own(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.ask(desk.claims(1, 0, Rec("a"), begun=1), desk.claims(0, 0, Rec("b"), Rec("c"), begun=2))
    later = (desk.claims(0, 2, frontier=2, begun=9), desk.claims(1, 1, begun=4))
    expect(known(desk, *later), {0: (2, 2), 1: (0, 1)}, "known")
    expect(marks(desk, 1, 0), {0: (2, 9), 1: (0, 4)}, "at a take-over")


def marks_are_kept_to_the_last_bit(rig: Rig) -> None:
    desk = Desk(rig)
    p, offset = 65_535, 2**48 - 1
    desk.open({p: 0})
    desk.take(p)
    seal = seal_of(desk)
    desk.ask(desk.claims(p, 0, end=offset, begun=offset))
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(p, offset + 1)), True, "begin")
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(p, offset)]), OPEN, "settle")
    expect(marks(desk, p), {p: (offset, offset + 1)}, "the highest there can be")


def what_has_begun_never_falls(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"), begun=5)).seal
    desk.ask(desk.claims(0, 0, Rec("a"), begun=2))
    expect(marks(desk, 0), {0: (0, 5)}, "after a claim that marks less")
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(0, 3)), True, "begin")
    expect(marks(desk, 0), {0: (0, 5)}, "after a mark below it")


def a_batch_that_is_refused_leaves_no_mark(rig: Rig) -> None:
    desk = Desk.opened(rig)
    old = desk.epochs[0]
    desk.take(0)
    desk.refused(FENCED, 0, desk.claims(1, 0, begun=9), desk.claims(0, 0, epoch=old, begun=9))
    desk.refused(Admission.GAP, 1, desk.claims(0, 0, begun=9), desk.claims(1, 7, begun=9))
    rig.restart()
    desk.closed(desk.claims(0, 0, begun=9))
    expect(marks(desk, 0, 1), {0: (0, 0), 1: (0, 0)}, "at a take-over")


def a_mark_is_told_to_the_next_claim_and_settles_nothing(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"), Rec("b"))).seal
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(0, 1)), True, "begin")
    answer = desk.ask(desk.claims(0, 0, Rec("a"), Rec("b")), desk.claims(1, 0))
    expect(dict(answer.known), {0: Known(0, 1), 1: Known(0, 0)}, "known")
    expect(answer.verdicts, [AGAIN, AGAIN], "the records")


def nothing_begins_under_another_seal(rig: Rig) -> None:
    # A worker stands still between claim and handler, while the ledger is lost and recovered.
    desk = Desk.opened(rig)
    seal = seal_of(desk)
    rig.restart()
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(0, 1)), False, "begin when closed")
    desk.open({0: 0, 1: 0})
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(0, 1)), False, "begin under the old")
    expect(desk.ledger.begin(desk.shard, "", desk.mark(0, 1)), False, "begin under no seal")
    expect(marks(desk, 0), {0: (0, 0)}, "begun")
    expect(desk.ledger.begin(desk.shard, seal_of(desk), desk.mark(0, 1)), True, "begin")


def nothing_begins_under_an_old_epoch(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal, old = seal_of(desk), desk.epochs[0]
    desk.take(0)
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(0, 1, old)), False, "a zombie's mark")
    expect(marks(desk, 0), {0: (0, 0)}, "begun")
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(1, 1)), True, "the other partition's")


def what_is_settled_is_suppressed_from_then_on(rig: Rig) -> None:
    desk = Desk.opened(rig)
    records = (Rec("a"), Rec(None), Rec("b"))
    seal = desk.ask(desk.claims(0, 0, *records, begun=3)).seal
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(0, 2)]), OPEN, "settle")
    answer = desk.ask(desk.claims(0, 0, *records), desk.claims(1, 0, Rec("a")))
    expect(answer.verdicts, [SETTLED, SETTLED, AGAIN, DUPLICATE], "around the frontier")
    expect(dict(answer.known), {0: Known(2, 3), 1: Known(0, 0)}, "known")
    taken = desk.take(0)[0]
    expect((taken.floor, taken.claimed, taken.begun), (2, 3, 3), "at a take-over")


def settling_never_moves_a_frontier_back(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, end=9)).seal
    desk.ledger.settle(desk.shard, seal, [desk.mark(0, 5)])
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(0, 3)]), OPEN, "a late one")
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(0, 4)] * 2), OPEN, "one told twice")
    expect(marks(desk, 0), {0: (5, 0)}, "the frontier")
    both = [desk.mark(0, 8), desk.mark(0, 6)]
    expect(desk.ledger.settle(desk.shard, seal, both), OPEN, "two of one partition")
    expect(marks(desk, 0), {0: (8, 0)}, "the frontier, after two marks of one partition")


def nothing_is_settled_under_another_seal(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal, old = seal_of(desk), desk.epochs[0]
    desk.take(0)
    rig.restart()
    zombies = [desk.mark(0, 1, old)]
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(0, 1)]), CLOSED, "when closed")
    expect(desk.ledger.settle(desk.shard, seal, zombies), CLOSED, "when closed, by a zombie")
    desk.open({0: 0, 1: 0})
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(0, 1)]), CLOSED, "under the old")
    expect(marks(desk, 0), {0: (0, 0)}, "the frontier")
    expect(desk.ledger.settle(desk.shard, seal_of(desk), [desk.mark(0, 1)]), OPEN, "settle")


def a_zombie_settles_nothing_and_nothing_is_settled_by_halves(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal, old = seal_of(desk), desk.epochs[0]
    desk.take(0)
    good, bad = desk.mark(1, 1), desk.mark(0, 1, old)
    for together in ([bad], [good, bad], [bad, good]):
        expect(desk.ledger.settle(desk.shard, seal, together), FENCED, "a zombie's")
    expect(marks(desk, 0, 1), {0: (0, 0), 1: (0, 0)}, "the frontiers")
    together = [desk.mark(1, 1), desk.mark(0, 2)]
    expect(desk.ledger.settle(desk.shard, seal, together), OPEN, "both, under their epochs")
    expect(marks(desk, 0, 1), {0: (2, 0), 1: (1, 0)}, "the frontiers")


def a_replay_is_handled_again_from_where_it_begins(rig: Rig) -> None:
    desk = Desk.opened(rig)
    records = (Rec("a"), Rec("b"), Rec("c"))
    seal = desk.ask(desk.claims(0, 0, *records, begun=3)).seal
    desk.ledger.settle(desk.shard, seal, [desk.mark(0, 3)])
    expect(desk.ledger.rewind(desk.shard, [desk.mark(0, 1)]), True, "rewind")
    expect(desk.take(0)[0].claimed, 3, "claimed, which never falls")
    answer = desk.ask(desk.claims(0, 0, *records, frontier=1), desk.claims(1, 0, Rec("b")))
    # Owners stay: a copy is one, before and after.
    expect(answer.verdicts, [SETTLED, AGAIN, AGAIN, DUPLICATE], "the records, and a copy")
    expect(answer.known[0], Known(1, 1), "known")


def a_rewind_never_moves_forward(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, end=9, begun=3)).seal
    desk.ledger.settle(desk.shard, seal, [desk.mark(0, 2)])
    expect(desk.ledger.rewind(desk.shard, [desk.mark(0, 8), desk.mark(1, 8)]), True, "rewind")
    expect(marks(desk, 0, 1), {0: (2, 3), 1: (0, 0)}, "marks below it")
    desk.ledger.rewind(desk.shard, [desk.mark(0, 1), desk.mark(0, 2)])
    expect(marks(desk, 0), {0: (1, 1)}, "after two marks of one partition")


def a_zombie_rewinds_nothing_and_nothing_is_rewound_by_halves(rig: Rig) -> None:
    desk = Desk.opened(rig)
    old = desk.epochs[0]
    desk.take(0)
    both = [desk.claims(p, 0, end=4, frontier=4, begun=4) for p in (0, 1)]
    desk.ask(*both)
    good, bad = desk.mark(1, 1), desk.mark(0, 1, old)
    for together in ([bad], [good, bad], [bad, good]):
        expect(desk.ledger.rewind(desk.shard, together), False, "a zombie's")
    expect(marks(desk, 0, 1), {0: (4, 4), 1: (4, 4)}, "the marks")
    together = [desk.mark(1, 1), desk.mark(0, 2)]
    expect(desk.ledger.rewind(desk.shard, together), True, "both, under their epochs")
    expect(marks(desk, 0, 1), {0: (2, 2), 1: (1, 1)}, "the marks")


def opening_tells_what_may_have_begun(rig: Rig) -> None:
    desk = Desk(rig)
    desk.open({0: 2, 1: 0, 2: 4}, {0: 7, 1: 1})
    expect(marks(desk, 0, 1, 2), {0: (2, 7), 1: (0, 1), 2: (4, 0)}, "at a take-over")
    expect(known(desk, desk.claims(0, 2, Rec("a"))), {0: (2, 7)}, "before a claim")
    desk.open({0: 3}, {0: 5, 1: 6})
    expect(marks(desk, 0, 1), {0: (3, 7), 1: (0, 6)}, "opened again: it never falls")


def marks_survive_a_restart_and_go_with_a_loss(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.ask(desk.claims(0, 0, Rec("a"), Rec("b"), frontier=1, begun=2))
    rig.restart()
    desk.open({0: 0, 1: 0})
    expect(marks(desk, 0), {0: (1, 2)}, "after a restart")
    rig.lose()
    expect(marks(desk, 0), {0: (0, 0)}, "after a loss")


def marks_are_of_one_shard(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, end=9, frontier=3, begun=5)).seal
    desk.shard = Shard(desk.shard.namespace, desk.shard.group, "re-created")
    desk.open({0: 0})
    expect(marks(desk, 0), {0: (0, 0)}, "marks of a topic that was re-created")
    expect(desk.ledger.begin(desk.shard, seal, desk.mark(0, 7)), False, "the other's seal")
    expect(desk.ledger.settle(desk.shard, seal, [desk.mark(0, 7)]), CLOSED, "the other's seal")
    expect(marks(desk, 0), {0: (0, 0)}, "marks after what was meant for the other")


EXERCISES: tuple[Exercise, ...] = (
    a_claim_tells_what_had_begun_before_it_and_leaves_its_own_mark,
    a_claim_tells_the_highest_frontier_its_own_included,
    each_partition_of_a_batch_has_marks_of_its_own,
    marks_are_kept_to_the_last_bit,
    what_has_begun_never_falls,
    a_batch_that_is_refused_leaves_no_mark,
    a_mark_is_told_to_the_next_claim_and_settles_nothing,
    nothing_begins_under_another_seal,
    nothing_begins_under_an_old_epoch,
    what_is_settled_is_suppressed_from_then_on,
    settling_never_moves_a_frontier_back,
    nothing_is_settled_under_another_seal,
    a_zombie_settles_nothing_and_nothing_is_settled_by_halves,
    a_replay_is_handled_again_from_where_it_begins,
    a_rewind_never_moves_forward,
    a_zombie_rewinds_nothing_and_nothing_is_rewound_by_halves,
    opening_tells_what_may_have_begun,
    marks_survive_a_restart_and_go_with_a_loss,
    marks_are_of_one_shard,
)
