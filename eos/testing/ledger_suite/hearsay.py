# ruff: noqa: D103
# The name of an exercise is its sentence.
"""Plain tier: owners that may have been suppressed in favour of one that was lost."""

from eos.core.ports import Assertion
from eos.core.rules import Owner, Verdict
from eos.testing.ledger_suite.desk import (
    BASE,
    Desk,
    Exercise,
    Rec,
    Rig,
    digest,
    expect,
    fingerprint,
)

FRESH, AGAIN, SETTLED = Verdict.FRESH, Verdict.AGAIN, Verdict.SETTLED
DUPLICATE, CONFLICT = Verdict.DUPLICATE, Verdict.CONFLICT

A, B, C = Rec("a"), Rec("b"), Rec("c")


def copies(desk: Desk, *records: Rec) -> list[bool]:
    """Claim copies on the partition 9, which must find owners; give which are hearsay."""
    answer = desk.ask(desk.claims(9, 0, *records))
    expect(set(answer.owners), set(range(len(records))), "who found owners")
    return [i in answer.hearsay for i in range(len(records))]


def owners_below_where_the_log_ended_are_hearsay(rig: Rig) -> None:
    desk = Desk(rig)
    desk.open({0: 1, 9: 0}, {0: 2, 9: 4}, desk.assertion(0, 0, A, B, C))
    desk.take(0, 9)
    records = (C, Rec("new"), B, Rec("a", "other"), A, Rec(None))
    answer = desk.ask(desk.claims(9, 0, *records))
    want = [DUPLICATE, FRESH, DUPLICATE, CONFLICT, DUPLICATE, FRESH]
    expect(answer.verdicts, want, "the verdicts, which are as ever")
    expect(answer.hearsay, frozenset({2, 3, 4}), "hearsay")


def hearsay_goes_by_the_partition_of_the_owner(rig: Rig) -> None:
    desk = Desk(rig)
    stretches = [desk.assertion(p, 0, Rec(f"{p}a"), Rec(f"{p}b")) for p in (0, 1, 300)]
    desk.open({9: 8}, {0: 1, 1: 2, 300: 0, 9: 8}, *stretches)
    desk.take(0, 1, 9, 300)
    one = desk.claims(9, 8, *(Rec(f"{p}{x}") for x in "ab" for p in (300, 1, 0)))
    other = desk.claims(0, 2, Rec("1b"), Rec("300b"), Rec("1a"))
    answer = desk.ask(one, other)
    expect(answer.verdicts, [DUPLICATE] * 9, "copies of all")
    expect(answer.hearsay, frozenset({1, 2, 4, 6, 8}), "hearsay")


def only_owners_behind_a_verdict_are_hearsay(rig: Rig) -> None:
    desk = Desk(rig)
    desk.open({0: 2, 9: 0}, {0: 3, 9: 0}, desk.assertion(0, 0, A, B, C))
    desk.take(0)
    answer = desk.ask(desk.claims(0, 0, A, B, C))
    expect(answer.verdicts, [SETTLED, SETTLED, AGAIN], "the owners themselves")
    expect(answer.hearsay, frozenset(), "hearsay of them")
    desk.ledger.rewind(desk.shard, [desk.mark(0, 0)])
    answer = desk.ask(desk.claims(0, 0, A, B, C))
    expect((answer.verdicts, answer.hearsay), ([AGAIN] * 3, frozenset()), "and in a replay")


def owners_claimed_beyond_that_are_sure(rig: Rig) -> None:
    desk = Desk(rig)
    desk.open({0: 1, 9: 0}, {0: 2, 9: 0}, desk.assertion(0, 0, A))
    desk.take(0, 9)
    seal = desk.ask(desk.claims(0, 1, B, C, begun=3)).seal
    expect(copies(desk, A, B, C), [True, True, False], "while they are in flight")
    desk.ledger.settle(desk.shard, seal, [desk.mark(0, 2)])
    desk.ask(desk.claims(0, 3, frontier=3))
    expect(copies(desk, A, B, C), [True, True, False], "when they are settled")
    desk.open({0: 3, 9: 0}, {})
    expect(copies(desk, A, B, C), [True, True, False], "opened again under the seal")


def what_another_partition_lacks_makes_no_hearsay_of_this_one(rig: Rig) -> None:
    # Under a good seal one partition is recovered, which nobody had claimed anything of.
    desk = Desk(rig)
    desk.open({0: 1, 9: 0}, {0: 1, 9: 0}, desk.assertion(0, 0, A))
    desk.take(0, 1, 9)
    desk.verdicts(0, 1, B)
    desk.open({0: 2, 1: 1}, {1: 1}, desk.assertion(1, 0, C))
    expect(copies(desk, A, B, C), [True, False, True], "copies")


def without_what_has_begun_there_is_no_hearsay(rig: Rig) -> None:
    # The other tiers: an owner below the frontier was handled, or a transaction says so.
    desk = Desk(rig)
    desk.open({0: 2, 1: 0, 9: 0}, {1: 1}, desk.assertion(0, 0, A, B), desk.assertion(1, 0, C))
    desk.take(9)
    expect(copies(desk, A, B, C), [False, False, True], "copies")


def hearsay_is_of_the_seal_that_stands(rig: Rig) -> None:
    # Only a log that was truncated ends lower at a later opening.
    desk = Desk(rig)
    desk.open({0: 3, 9: 0}, {0: 3, 9: 0}, desk.assertion(0, 0, A, B, C))
    desk.take(9)
    rig.restart()
    desk.open({0: 1}, {0: 1})
    expect(copies(desk, A, B, C), [True, False, False], "opened with a lower end")
    desk.open({}, {0: 2})
    expect(copies(desk, A, B, C), [True, True, False], "opened under this seal with a higher one")
    desk.open({}, {0: 1})
    expect(copies(desk, A, B, C), [True, True, False], "and with a lower one: it never falls")
    rig.restart()
    desk.open({}, {9: 0})
    expect(copies(desk, A, B, C), [False, False, False], "opened with none")


def what_was_claimed_under_an_older_seal_is_hearsay(rig: Rig) -> None:
    # The server may have come back from a dump: what stands in it is no proof.
    desk = Desk(rig)
    desk.open({0: 0, 9: 0})
    desk.take(0, 9)
    desk.verdicts(0, 0, A, B)
    expect(copies(desk, A, B), [False, False], "under the seal")
    rig.restart()
    desk.open({0: 0, 9: 0}, {0: 1, 9: 0})
    expect(copies(desk, A, B), [True, False], "under the next")


def hearsay_is_exact_to_the_last_bit(rig: Rig) -> None:
    desk = Desk(rig)
    p, offset = 65_535, 2**48 - 3
    high = Assertion(p, offset + 2, [offset, offset + 1], [digest("a"), digest("b")])
    high.fingerprints, high.times = [2**32 - 1, fingerprint("payload")], [BASE, BASE]
    desk.open({p: offset, 9: 0}, {p: offset + 1, 9: 2}, high)
    desk.take(9)
    answer = desk.ask(desk.claims(9, 0, A, B))
    want = {0: Owner(p, offset, 2**32 - 1), 1: Owner(p, offset + 1, fingerprint("payload"))}
    expect(answer.owners, want, "the owners")
    expect(answer.hearsay, frozenset({0}), "hearsay")


EXERCISES: tuple[Exercise, ...] = (
    owners_below_where_the_log_ended_are_hearsay,
    hearsay_goes_by_the_partition_of_the_owner,
    only_owners_behind_a_verdict_are_hearsay,
    owners_claimed_beyond_that_are_sure,
    what_another_partition_lacks_makes_no_hearsay_of_this_one,
    without_what_has_begun_there_is_no_hearsay,
    hearsay_is_of_the_seal_that_stands,
    what_was_claimed_under_an_older_seal_is_hearsay,
    hearsay_is_exact_to_the_last_bit,
)
