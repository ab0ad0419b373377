# ruff: noqa: D103
# The name of an exercise is its sentence.
"""The claim rule, claims in order, and fencing."""

from eos.core.ports import Claims
from eos.core.record import Shard
from eos.core.rules import Admission, Owner, Verdict
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

PAYLOAD = fingerprint("payload")


def a_key_without_owner_is_fresh_and_its_position_becomes_the_owner(rig: Rig) -> None:
    desk = Desk.opened(rig)
    answer = desk.ask(desk.claims(0, 0, Rec("a"), Rec("b")))
    expect(answer.verdicts, [FRESH, FRESH], "first claims of two keys")
    expect(answer.owners, {}, "owners behind verdicts that are handled")
    answer = desk.ask(desk.claims(1, 0, Rec("a"), Rec("b")))
    expect(answer.owners, {0: Owner(0, 0, PAYLOAD), 1: Owner(0, 1, PAYLOAD)}, "owners")


def the_owner_that_comes_back_is_handled_again(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"))
    expect(desk.verdicts(0, 0, Rec("a"), Rec("b")), [AGAIN, AGAIN], "a second attempt")
    desk.take(0)
    expect(desk.verdicts(0, 0, Rec("a"), Rec("b")), [AGAIN, AGAIN], "after a take-over")
    expect(desk.verdicts(0, 1, Rec("b")), [AGAIN], "the third attempt")


def the_owner_that_comes_back_with_another_payload_is_handled_again(rig: Rig) -> None:
    # The log does not change: it is the fingerprint that was made differently.
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    expect(desk.verdicts(0, 0, Rec("a", "other")), [AGAIN], "the very position")


def the_owner_that_comes_back_still_owns_its_key(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    for attempt in range(2, 5):
        desk.verdicts(0, 0, Rec("a"))
        expect(desk.verdicts(1, 0, Rec("a")), [DUPLICATE], f"a copy, after attempt {attempt}")


def a_copy_at_another_position_is_a_duplicate_and_names_its_owner(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("x"), Rec("a"))
    answer = desk.ask(desk.claims(0, 2, Rec("y"), Rec("a")), desk.claims(1, 0, Rec("a")))
    expect(answer.verdicts, [FRESH, DUPLICATE, DUPLICATE], "copies on two partitions")
    expect(answer.owners, {1: Owner(0, 1, PAYLOAD), 2: Owner(0, 1, PAYLOAD)}, "their owner")


def a_copy_in_the_same_batch_is_a_duplicate(rig: Rig) -> None:
    desk = Desk.opened(rig)
    answer = desk.ask(desk.claims(1, 0, Rec("a"), Rec("a")), desk.claims(0, 0, Rec("a")))
    expect(answer.verdicts, [FRESH, DUPLICATE, DUPLICATE], "three of one key in a batch")
    expect(answer.owners, {1: Owner(1, 0, PAYLOAD), 2: Owner(1, 0, PAYLOAD)}, "their owner")


def another_payload_under_the_same_key_is_a_conflict(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    answer = desk.ask(desk.claims(1, 0, Rec("a", "other")))
    expect(answer.verdicts, [CONFLICT], "another payload")
    expect(answer.owners, {0: Owner(0, 0, PAYLOAD)}, "the owner behind the conflict")
    expect(desk.verdicts(0, 0, Rec("a")), [AGAIN], "the owner after a conflict")
    expect(desk.verdicts(1, 1, Rec("a")), [DUPLICATE], "a true copy after a conflict")


def a_replay_gives_the_same_verdicts(rig: Rig) -> None:
    desk = Desk.opened(rig)
    records = (Rec("a"), Rec("a"), Rec("a", "other"), Rec(None), Rec("b"))
    desk.verdicts(0, 0, *records)
    for _ in range(2):
        want = [AGAIN, DUPLICATE, CONFLICT, FRESH, AGAIN]
        expect(desk.verdicts(0, 0, *records), want, "the same batch once more")


def a_copy_is_suppressed_while_its_owner_is_in_flight_and_the_owner_never_is(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    expect(desk.verdicts(1, 0, Rec("a")), [DUPLICATE], "a copy of what nobody settled")
    desk.take(0, 1)
    expect(desk.verdicts(1, 0, Rec("a")), [DUPLICATE], "the copy, first after a crash")
    expect(desk.verdicts(0, 0, Rec("a")), [AGAIN], "its owner after the crash")


def a_record_without_key_is_fresh_each_time(rig: Rig) -> None:
    desk = Desk.opened(rig)
    expect(desk.verdicts(0, 0, Rec(None), Rec(None)), [FRESH, FRESH], "two without key")
    expect(desk.verdicts(0, 0, Rec(None)), [FRESH], "the first of them again")


def records_without_key_may_be_left_out(rig: Rig) -> None:
    desk = Desk.opened(rig)
    with_keys = desk.claims(0, 0, Rec("a"), Rec("b"), end=6)
    with_keys.offsets = [1, 4]
    without_any = desk.claims(1, 0, end=500)
    answer = desk.ask(without_any, with_keys)
    expect((answer.verdicts, answer.owners), ([FRESH, FRESH], {}), "a batch with and one without")
    taken = desk.take(0, 1)
    expect((taken[0].claimed, taken[1].claimed), (6, 500), "claimed")
    want = {0: Owner(0, 1, PAYLOAD), 1: Owner(0, 4, PAYLOAD)}
    expect(desk.ask(desk.claims(1, 500, Rec("a"), Rec("b"))).owners, want, "the owners")
    with_keys.epoch, with_keys.frontier = desk.epochs[0], 4
    expect(desk.ask(with_keys).verdicts, [SETTLED, AGAIN], "around the frontier")


def below_the_frontier_is_settled_whatever_else_is_true(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"), Rec("a"))
    records = (Rec("a"), Rec("new"), Rec(None), Rec("c"))
    want = [SETTLED, SETTLED, SETTLED, FRESH]
    expect(desk.verdicts(0, 0, *records, frontier=3), want, "a batch around the frontier")
    expect(desk.verdicts(1, 0, Rec("new")), [FRESH], "a key that only a settled record had")


def the_ledger_keeps_the_highest_frontier_it_was_told(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"), Rec("c"))
    desk.verdicts(0, 3, Rec("d"), frontier=3)
    want = [SETTLED, SETTLED, SETTLED, AGAIN]
    late = [Rec("x"), Rec("b"), Rec("c"), Rec("d")]
    expect(desk.verdicts(0, 0, *late, frontier=1), want, "a client that knows an old frontier")
    expect(desk.take(0)[0].floor, 3, "the floor at a take-over")
    expect(desk.verdicts(1, 0, Rec("x")), [FRESH], "a key of a record below the floor")


def owners_are_kept_to_the_last_bit(rig: Rig) -> None:
    desk = Desk(rig)
    p, offset = 65_535, 2**48 - 2
    desk.open({p: offset, 0: 0})
    desk.take(p, 0)
    high = Claims(p, desk.epochs[p], offset, offset, offset + 2)
    high.offsets, high.times = [offset, offset + 1], [BASE, BASE]
    high.digests, high.fingerprints = [digest("a"), digest("b")], [2**32 - 1, 0]
    expect(desk.ask(high).verdicts, [FRESH, FRESH], "the highest position there can be")
    expect(desk.ask(high).verdicts, [AGAIN, AGAIN], "the same positions")
    owners = desk.ask(desk.claims(0, 0, Rec("a"), Rec("b"))).owners
    want = {0: Owner(p, offset, 2**32 - 1), 1: Owner(p, offset + 1, 0)}
    expect(owners, want, "owners at the highest positions")


def shards_do_not_see_each_other(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    desk.shard = Shard(desk.shard.namespace, desk.shard.group, "re-created")
    desk.closed(desk.claims(0, 0, Rec("a"), epoch=0))
    desk.open({0: 0, 1: 0})
    desk.take(0, 1)
    expect(desk.verdicts(1, 0, Rec("a")), [FRESH], "the key in another shard")


def thousands_of_keys_keep_their_owners(rig: Rig) -> None:
    desk = Desk.opened(rig)
    size, count = 700, 4900
    keys = [Rec(f"key-{i}", f"payload-{i}") for i in range(count)]
    for start in range(0, count, size):
        batch = keys[start : start + size]
        expect(desk.verdicts(0, start, *batch), [FRESH] * size, "first claims")
    expect(desk.verdicts(0, 0, *keys), [AGAIN] * count, "all of them again")
    answer = desk.ask(desk.claims(1, 0, *keys))
    expect(answer.verdicts, [DUPLICATE] * count, "a copy of each")
    want = {i: Owner(0, i, fingerprint(f"payload-{i}")) for i in range(count)}
    expect(answer.owners, want, "the owner of each")


def claims_follow_on_each_other_without_a_gap(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"), Rec("b"))
    desk.refused(Admission.GAP, 0, desk.claims(0, 3, Rec("d"), frontier=1))
    expect(desk.take(0)[0].claimed, 2, "claimed after a gap was refused")
    expect(desk.verdicts(1, 0, Rec("d")), [FRESH], "a key of the batch that was refused")
    expect(desk.verdicts(0, 2, Rec("c")), [FRESH], "a batch that begins where the last ended")
    expect(desk.verdicts(0, 1, Rec("b"), Rec("c")), [AGAIN, AGAIN], "one that begins below it")


def a_batch_counts_as_claimed_up_to_its_end(rig: Rig) -> None:
    # Transaction markers and compaction leave offsets that no record has.
    desk = Desk.opened(rig)
    desk.ask(desk.claims(0, 0, Rec("a"), end=5))
    expect(desk.take(0)[0].claimed, 5, "claimed")
    desk.ask(desk.claims(0, 5, end=9))
    expect(desk.take(0)[0].claimed, 9, "claimed after a batch without records")
    expect(desk.verdicts(0, 9, Rec("b")), [FRESH], "the batch behind it")
    desk.ask(desk.claims(0, 0, Rec("a")))
    expect(desk.take(0)[0].claimed, 10, "claimed, which never falls")


def a_batch_is_claimed_as_a_whole_or_not_at_all(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(1, 0, Rec("x"))
    good, bad = desk.claims(0, 0, Rec("a"), frontier=1), desk.claims(1, 2, Rec("b"))
    desk.refused(Admission.GAP, 1, good, bad)
    taken = desk.take(0)[0]
    expect((taken.claimed, taken.floor), (0, 0), "the partition that was not at fault")
    expect(desk.verdicts(1, 1, Rec("a")), [FRESH], "its key")


def a_take_over_fences_all_earlier_epochs(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    old = desk.epochs[0]
    desk.take(0)
    zombie = desk.claims(0, 1, Rec("b"), epoch=old, frontier=1)
    desk.refused(Admission.FENCED, 0, desk.claims(1, 0, Rec("c")), zombie)
    taken = desk.take(0)[0]
    expect((taken.claimed, taken.floor), (1, 0), "what the zombie left behind")
    expect(desk.verdicts(1, 0, Rec("b"), Rec("c")), [FRESH, FRESH], "the zombie's keys")


def fenced_comes_before_gap(rig: Rig) -> None:
    desk = Desk.opened(rig)
    old = desk.epochs[0]
    desk.take(0)
    desk.refused(Admission.FENCED, 0, desk.claims(0, 7, Rec("a"), epoch=old))


def epochs_grow_with_each_take_over_of_each_partition(rig: Rig) -> None:
    desk = Desk.opened(rig)
    for _ in range(5):
        before = dict(desk.epochs)
        desk.take(0)
        expect(desk.epochs[0] > before[0], True, "the epoch of a later take-over is higher")
    expect(desk.verdicts(1, 0, Rec("a")), [FRESH], "a partition that nobody took over")


def epochs_never_restart_not_even_after_a_loss(rig: Rig) -> None:
    desk = Desk.opened(rig)
    for _ in range(3):
        desk.take(0, 1)
    before = dict(desk.epochs)
    rig.lose()
    desk.take(0, 1)
    for p, epoch in before.items():
        expect(desk.epochs[p] > epoch, True, "the epoch after a loss is higher")


def after_a_loss_the_newest_epoch_heard_of_fences_older_ones(rig: Rig) -> None:
    desk = Desk.opened(rig)
    old = desk.epochs[0]
    desk.take(0)
    rig.lose()
    desk.open({0: 0, 1: 0})
    desk.verdicts(0, 0, Rec("a"))
    desk.refused(Admission.FENCED, 0, desk.claims(0, 1, Rec("b"), epoch=old))


EXERCISES: tuple[Exercise, ...] = (
    a_key_without_owner_is_fresh_and_its_position_becomes_the_owner,
    the_owner_that_comes_back_is_handled_again,
    the_owner_that_comes_back_still_owns_its_key,
    the_owner_that_comes_back_with_another_payload_is_handled_again,
    a_copy_at_another_position_is_a_duplicate_and_names_its_owner,
    a_copy_in_the_same_batch_is_a_duplicate,
    another_payload_under_the_same_key_is_a_conflict,
    a_replay_gives_the_same_verdicts,
    a_copy_is_suppressed_while_its_owner_is_in_flight_and_the_owner_never_is,
    a_record_without_key_is_fresh_each_time,
    records_without_key_may_be_left_out,
    below_the_frontier_is_settled_whatever_else_is_true,
    the_ledger_keeps_the_highest_frontier_it_was_told,
    owners_are_kept_to_the_last_bit,
    shards_do_not_see_each_other,
    thousands_of_keys_keep_their_owners,
    claims_follow_on_each_other_without_a_gap,
    a_batch_counts_as_claimed_up_to_its_end,
    a_batch_is_claimed_as_a_whole_or_not_at_all,
    a_take_over_fences_all_earlier_epochs,
    fenced_comes_before_gap,
    epochs_grow_with_each_take_over_of_each_partition,
    epochs_never_restart_not_even_after_a_loss,
    after_a_loss_the_newest_epoch_heard_of_fences_older_ones,
)
