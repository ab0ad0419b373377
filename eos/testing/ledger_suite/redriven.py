# ruff: noqa: D103
# The name of an exercise is its sentence.
"""Dead letters that are published again: who owns their keys then."""

from eos.core.ports import Claims
from eos.core.rules import Admission, Owner, Verdict
from eos.testing.ledger_suite.desk import (
    BASE,
    GENERATION,
    WINDOW,
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

PAYLOAD = fingerprint("payload")
LETTER = (0, 0)
"""Where the record stood that became a dead letter."""
A, REDRIVEN = Rec("a"), Rec("a", redriven=LETTER)


def a_redriven_record_takes_its_key_over_from_its_letter(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A, Rec("b"))
    answer = desk.ask(desk.claims(1, 0, REDRIVEN, Rec("b")))
    expect(answer.verdicts, [FRESH, DUPLICATE], "a redriven record, and a copy beside it")
    expect(answer.owners, {1: Owner(0, 1, PAYLOAD)}, "owners that are told")
    answer = desk.ask(desk.claims(0, 2, A, frontier=2))
    expect(answer.verdicts, [DUPLICATE], "a copy after the redrive")
    expect(answer.owners, {0: Owner(1, 0, PAYLOAD)}, "the owner after the redrive")


def a_redriven_record_that_comes_back_is_handled_again(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    desk.verdicts(1, 0, REDRIVEN)
    expect(desk.verdicts(1, 0, REDRIVEN), [AGAIN], "a second attempt")
    desk.take(0, 1)
    expect(desk.verdicts(1, 0, REDRIVEN), [AGAIN], "after a take-over")


def a_second_redrive_of_a_letter_is_a_duplicate_of_the_first(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    desk.verdicts(1, 0, REDRIVEN)
    answer = desk.ask(desk.claims(0, 1, REDRIVEN, frontier=1), desk.claims(1, 1, REDRIVEN))
    expect(answer.verdicts, [DUPLICATE, DUPLICATE], "a second and a third redrive")
    owner = Owner(1, 0, PAYLOAD)
    expect(answer.owners, {0: owner, 1: owner}, "their owner")
    expect(desk.verdicts(1, 0, REDRIVEN), [AGAIN], "the first redrive after them")


def two_redrives_in_one_batch_are_one(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    batch = desk.claims(1, 0, A, REDRIVEN, REDRIVEN, A), desk.claims(0, 1, REDRIVEN, frontier=1)
    answer = desk.ask(*batch)
    want = [DUPLICATE, FRESH, DUPLICATE, DUPLICATE, DUPLICATE]
    expect(answer.verdicts, want, "copies and redrives in one batch")
    old, new = Owner(0, 0, PAYLOAD), Owner(1, 1, PAYLOAD)
    expect(answer.owners, {0: old, 2: new, 3: new, 4: new}, "their owners")


def a_letter_that_failed_again_is_redriven_again(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    desk.verdicts(1, 0, REDRIVEN)
    want = [FRESH, DUPLICATE, DUPLICATE]
    second = Rec("a", redriven=(1, 0))
    expect(desk.verdicts(1, 1, second, REDRIVEN, second, frontier=1), want, "of the second letter")
    expect(desk.verdicts(1, 1, second, frontier=1), [AGAIN], "and once more")


def a_letter_that_did_not_own_its_key_moves_nothing(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    expect(desk.verdicts(1, 0, Rec("a", "other")), [CONFLICT], "what was dead-lettered")
    again = Rec("a", "other", redriven=(1, 0)), Rec("a", redriven=(1, 0))
    expect(desk.verdicts(1, 1, *again, frontier=1), [CONFLICT, DUPLICATE], "redriven")
    near = [Rec("a", redriven=at) for at in ((0, 1), (1, 0), (0, 2**32), (256, 0))]
    expect(desk.verdicts(1, 3, *near, frontier=3), [DUPLICATE] * 4, "that name a neighbour")
    expect(desk.verdicts(0, 0, A), [AGAIN], "the owner")


def a_redriven_record_moves_its_key_whatever_its_payload(rig: Rig) -> None:
    # It is the same record; somebody may have mended what it holds.
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    expect(desk.verdicts(1, 0, Rec("a", "mended", redriven=LETTER)), [FRESH], "mended")
    answer = desk.ask(desk.claims(1, 1, A, Rec("a", "mended")))
    expect(answer.verdicts, [CONFLICT, DUPLICATE], "copies of both")
    expect(answer.owners[1], Owner(1, 0, fingerprint("mended")), "the owner")


def a_redriven_record_whose_key_nobody_owns_owns_it(rig: Rig) -> None:
    desk = Desk.opened(rig)
    expect(desk.verdicts(1, 0, REDRIVEN), [FRESH], "a redriven record")
    expect(desk.verdicts(1, 1, REDRIVEN, A), [DUPLICATE, DUPLICATE], "another redrive, and a copy")
    without = Rec(None, redriven=LETTER)
    expect(desk.verdicts(1, 3, without, without), [FRESH, FRESH], "without a key")


def the_letter_itself_comes_back_as_a_duplicate(rig: Rig) -> None:
    # Where a letter is published before its position is settled, a crash may lie between.
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    desk.verdicts(1, 0, REDRIVEN)
    expect(desk.verdicts(0, 0, A), [DUPLICATE], "the position that was dead-lettered")


def below_the_frontier_a_redriven_record_moves_nothing(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    expect(desk.verdicts(1, 0, REDRIVEN, frontier=1), [SETTLED], "settled")
    expect(desk.verdicts(0, 0, A), [AGAIN], "the owner")


def a_batch_that_is_refused_moves_nothing(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, A)
    desk.refused(Admission.GAP, 0, desk.claims(1, 0, REDRIVEN), desk.claims(0, 2, Rec("b")))
    expect(desk.verdicts(0, 0, A), [AGAIN], "the owner")


def a_key_that_is_taken_over_is_filed_under_the_time_of_the_redrive(rig: Rig) -> None:
    desk = Desk.opened(rig)
    later = BASE + 3 * GENERATION
    desk.verdicts(0, 0, A)
    desk.verdicts(1, 0, Rec("a", time=later, redriven=LETTER))
    live = desk.advance({0: BASE + GENERATION + WINDOW, 1: BASE + GENERATION + WINDOW})
    expect(live, 1, "live generations, once the letter has left the window")
    expect(desk.verdicts(0, 1, Rec("a", time=later)), [DUPLICATE], "a copy then")


def owners_move_to_the_last_bit(rig: Rig) -> None:
    desk = Desk(rig)
    p, offset = 65_535, 2**48 - 2
    desk.open({p: offset, 0: 0})
    desk.take(p, 0)
    high = Claims(p, desk.epochs[p], offset, offset, offset + 1)
    high.offsets, high.times = [offset], [BASE]
    high.digests, high.fingerprints = [digest("a")], [PAYLOAD]
    desk.ask(high)
    places = (p - 1, offset), (p, offset + 1), (p, offset - 1), (2**31 - 1, 2**60), (p, offset)
    asked = [Rec("a", redriven=place) for place in places]
    expect(desk.verdicts(0, 0, *asked), [*[DUPLICATE] * 4, FRESH], "names of neighbours, and it")


def which_records_are_redriven_is_told_across_a_batch(rig: Rig) -> None:
    desk = Desk.opened(rig, partitions=3)
    keys = [Rec(f"key-{i}") for i in range(300)]
    desk.verdicts(0, 0, *keys)
    again = [
        rec._replace(time=BASE + i, redriven=(0, i) if i % 3 else None)
        for i, rec in enumerate(keys)
    ]
    answer = desk.ask(desk.claims(1, 0, *again[:100]), desk.claims(2, 0, *again[100:]))
    want = [FRESH if i % 3 else DUPLICATE for i in range(300)]
    expect(answer.verdicts, want, "two of three, on two partitions, in three generations")
    expect(answer.owners, {i: Owner(0, i, PAYLOAD) for i in range(0, 300, 3)}, "of the rest")


def recovery_of_doubts_gives_the_key_of_a_letter_to_its_redrive(rig: Rig) -> None:
    for first in (0, 1):
        desk = Desk(rig)
        stretches = desk.assertion(0, 0, A), desk.assertion(1, 0, REDRIVEN)
        desk.open({0: 1, 1: 1, 2: 0}, {}, stretches[first], stretches[1 - first])
        desk.take(2)
        answer = desk.ask(desk.claims(2, 0, REDRIVEN))
        expect(answer.verdicts, [DUPLICATE], "a second redrive")
        expect(answer.owners, {0: Owner(1, 0, PAYLOAD)}, "its owner")


def recovery_of_doubts_lets_a_redrive_move_no_other_owner(rig: Rig) -> None:
    desk = Desk(rig)
    stranger = Rec("a", redriven=(0, 1))
    desk.open({0: 1, 1: 1, 2: 0}, {}, desk.assertion(0, 0, A), desk.assertion(1, 0, stranger))
    desk.take(2)
    expect(desk.ask(desk.claims(2, 0, A)).owners, {0: Owner(0, 0, PAYLOAD)}, "the owner")


def recovery_of_facts_gives_the_key_of_a_letter_to_its_redrive(rig: Rig) -> None:
    # The audit says of the letter that it gave its key away, in whatever order the two are read.
    for first in (0, 1):
        desk = Desk(rig)
        stretches = (
            desk.assertion(0, 0, A, settled=True, audited=[0]),
            desk.assertion(1, 0, REDRIVEN, settled=True),
        )
        desk.open({0: 1, 1: 1, 2: 0}, {}, stretches[first], stretches[1 - first])
        desk.take(2)
        answer = desk.ask(desk.claims(2, 0, REDRIVEN))
        expect(answer.verdicts, [DUPLICATE], "a second redrive")
        expect(answer.owners, {0: Owner(1, 0, PAYLOAD)}, "its owner")


EXERCISES: tuple[Exercise, ...] = (
    a_redriven_record_takes_its_key_over_from_its_letter,
    a_redriven_record_that_comes_back_is_handled_again,
    a_second_redrive_of_a_letter_is_a_duplicate_of_the_first,
    two_redrives_in_one_batch_are_one,
    a_letter_that_failed_again_is_redriven_again,
    a_letter_that_did_not_own_its_key_moves_nothing,
    a_redriven_record_moves_its_key_whatever_its_payload,
    a_redriven_record_whose_key_nobody_owns_owns_it,
    the_letter_itself_comes_back_as_a_duplicate,
    below_the_frontier_a_redriven_record_moves_nothing,
    a_batch_that_is_refused_moves_nothing,
    a_key_that_is_taken_over_is_filed_under_the_time_of_the_redrive,
    owners_move_to_the_last_bit,
    which_records_are_redriven_is_told_across_a_batch,
    recovery_of_doubts_gives_the_key_of_a_letter_to_its_redrive,
    recovery_of_doubts_lets_a_redrive_move_no_other_owner,
    recovery_of_facts_gives_the_key_of_a_letter_to_its_redrive,
)
