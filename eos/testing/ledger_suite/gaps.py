# ruff: noqa: D103
# The name of an exercise is its sentence.
"""Positions at which nothing is delivered any more: their owners are void."""

from eos.core.rules import Admission, Gap, Owner, Verdict
from eos.testing.ledger_suite.desk import (
    BASE,
    GENERATION,
    WINDOW,
    Desk,
    Exercise,
    Rec,
    Rig,
    expect,
    fingerprint,
)

FRESH, AGAIN = Verdict.FRESH, Verdict.AGAIN
DUPLICATE, CONFLICT = Verdict.DUPLICATE, Verdict.CONFLICT

PAYLOAD = fingerprint("payload")
A, B, C, D = Rec("a"), Rec("b"), Rec("c"), Rec("d")


def void(desk: Desk, partition: int, start: int, stop: int) -> None:
    """Let there be a gap."""
    done = desk.ledger.void(desk.shard, desk.mark(partition, stop), start)
    expect(done, True, "a gap that is noted")


def an_owner_in_a_gap_is_none(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B, C, D)
    void(desk, 0, 1, 3)
    answer = desk.ask(desk.claims(1, 0, A, B, C, D))
    expect(answer.verdicts, [DUPLICATE, FRESH, FRESH, DUPLICATE], "copies of what is in a gap")
    owners = {0: Owner(0, 0, PAYLOAD), 3: Owner(0, 3, PAYLOAD)}
    expect(answer.owners, owners, "owners before the gap and behind it")
    expect(desk.verdicts(1, 0, A, B, C, D), [DUPLICATE, AGAIN, AGAIN, DUPLICATE], "once more")


def the_first_copy_owns_the_key_and_the_others_are_its_duplicates(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    void(desk, 0, 0, 1)
    answer = desk.ask(desk.claims(0, 1, A, frontier=1), desk.claims(1, 0, A, A))
    expect(answer.verdicts, [FRESH, DUPLICATE, DUPLICATE], "copies in one batch")
    owner = Owner(0, 1, PAYLOAD)
    expect(answer.owners, {1: owner, 2: owner}, "their owner")


def a_copy_with_another_payload_owns_it_as_well(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    void(desk, 0, 0, 1)
    other = Rec("a", "other")
    expect(desk.verdicts(1, 0, other, A), [FRESH, CONFLICT], "another payload, and the first one")


def a_gap_within_another_takes_nothing_back(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B, C, D)
    void(desk, 0, 0, 3)
    void(desk, 0, 0, 1)
    void(desk, 0, 1, 2)
    wanted = [FRESH, FRESH, FRESH, DUPLICATE]
    expect(desk.verdicts(1, 0, A, B, C, D), wanted, "copies of what is in the first gap")


def a_gap_is_of_one_partition(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    desk.verdicts(1, 0, B)
    void(desk, 1, 0, 1)
    expect(desk.verdicts(1, 1, A, B), [DUPLICATE, FRESH], "copies of the one and of the other")


def a_gap_is_found_through_owners_of_earlier_generations(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    void(desk, 0, 0, 1)
    late = Rec("a", time=BASE + WINDOW)
    expect(desk.verdicts(1, 0, late, late), [FRESH, DUPLICATE], "copies in a later generation")
    desk.advance({0: BASE + WINDOW + GENERATION, 1: BASE + WINDOW + GENERATION})
    expect(desk.verdicts(1, 2, late), [DUPLICATE], "after the first generation went")


def there_may_be_several_gaps(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B, C, D)
    void(desk, 0, 2, 3)
    void(desk, 0, 0, 1)
    void(desk, 0, 2, 3)
    want = [FRESH, DUPLICATE, FRESH, DUPLICATE]
    expect(desk.verdicts(1, 0, A, B, C, D), want, "copies of what is in two gaps")


def a_larger_gap_takes_the_place_of_a_smaller_one(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B, C, D)
    void(desk, 0, 1, 2)
    void(desk, 0, 0, 3)
    want = [FRESH, FRESH, FRESH, DUPLICATE]
    expect(desk.verdicts(1, 0, A, B, C, D), want, "copies of what is in the larger one")


def what_is_in_a_gap_counts_as_claimed(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B)
    void(desk, 0, 1, 9)
    expect(desk.verdicts(0, 9, C, frontier=9), [FRESH], "what stands behind the gap")


def but_not_where_claims_are_lacking_before_it(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    void(desk, 0, 5, 9)
    desk.refused(Admission.GAP, 0, desk.claims(0, 9, C, frontier=9))


def who_is_fenced_voids_nothing(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    before = desk.epochs[0]
    desk.take(0)
    done = desk.ledger.void(desk.shard, desk.mark(0, 1, before), 0)
    expect(done, False, "a gap noted under an old epoch")
    expect(desk.verdicts(1, 0, A), [DUPLICATE], "a copy")


def a_gap_outlives_the_seal(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    void(desk, 0, 0, 1)
    seal = desk.ask(desk.claims(1, 0)).seal
    desk.ledger.unseal(desk.shard)
    expect(desk.ledger.confirm(desk.shard, seal), False, "the seal that was broken")
    desk.closed(desk.claims(1, 0, A))
    desk.open({0: 1, 1: 0})
    expect(desk.verdicts(1, 0, A), [FRESH], "a copy under the new seal")


def recovery_puts_gaps_back(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B)
    rig.restart()
    stretch = desk.assertion(0, 0, end=0)
    stretch.gaps = [Gap(0, 1)]
    desk.open({0: 1, 1: 0}, None, stretch)
    want = [FRESH, DUPLICATE]
    expect(desk.verdicts(1, 0, A, B), want, "copies after a recovery that knew of the gap")


def what_recovery_puts_back_is_owned_by_nobody_in_a_gap(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, B)
    void(desk, 0, 0, 1)
    rig.restart()
    desk.open({0: 1, 1: 2}, None, desk.assertion(1, 0, A, B))
    expect(desk.verdicts(1, 2, A, B, frontier=2), [DUPLICATE, DUPLICATE], "copies")
    expect(desk.verdicts(0, 1, B, frontier=1), [AGAIN], "the owner that is not in the gap")
    answer = desk.ask(desk.claims(1, 2, A, frontier=2))
    expect(answer.owners, {0: Owner(1, 0, PAYLOAD)}, "the owner that recovery put back")


EXERCISES: tuple[Exercise, ...] = (
    an_owner_in_a_gap_is_none,
    the_first_copy_owns_the_key_and_the_others_are_its_duplicates,
    a_copy_with_another_payload_owns_it_as_well,
    a_gap_within_another_takes_nothing_back,
    a_gap_is_of_one_partition,
    a_gap_is_found_through_owners_of_earlier_generations,
    there_may_be_several_gaps,
    a_larger_gap_takes_the_place_of_a_smaller_one,
    what_is_in_a_gap_counts_as_claimed,
    but_not_where_claims_are_lacking_before_it,
    who_is_fenced_voids_nothing,
    a_gap_outlives_the_seal,
    recovery_puts_gaps_back,
    what_recovery_puts_back_is_owned_by_nobody_in_a_gap,
)
