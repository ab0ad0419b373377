# ruff: noqa: D103
# The name of an exercise is its sentence.
"""A recovery that several workers share, by partition: leases, what is done, and the opening."""

import dataclasses
import time
from collections.abc import Sequence
from typing import cast

from eos.core.leases import WHOLE
from eos.core.ports import Assertion, Recovery
from eos.core.ports.inspection import Inspection, Surgery
from eos.core.rules import Verdict
from eos.testing.ledger_suite.desk import Desk, Exercise, Rec, Rig, expect

FRESH, AGAIN, DUPLICATE = Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE
BOTH = (0, 1)
_SHORT, _LONGER = 0.02, 0.05  # the server's own clock must pass the end; longer does no harm


def _join(desk: Desk, token: str, wanted: Sequence[int] = BOTH, seconds: float = 60) -> Recovery:
    """Join those who recover; nobody may hold the shard as a whole."""
    recovery = desk.ledger.lock(desk.shard, token, seconds, wanted)
    if recovery is None:
        raise AssertionError("nobody has the shard as a whole, yet its partitions were refused")
    return recovery


def _puts_back(desk: Desk, recovery: Recovery, *stretches: Assertion) -> bool:
    """Put these back, and say that this is all of the partition; tell whether all was taken."""
    told = [desk.ledger.reassert(desk.shard, recovery, stretch) for stretch in stretches]
    return all([*told, desk.ledger.reassert(desk.shard, recovery, _end(recovery))])


def _end(recovery: Recovery, floor: int = 0) -> Assertion:
    number = max(0, recovery.partition or 0)
    return Assertion(number, floor, settled=True, floor=floor, done=True)


def _opens(desk: Desk, recovery: Recovery, partitions: int = len(BOTH)) -> bool:
    return desk.ledger.open(desk.shard, recovery, {}, {}, partitions)


def each_worker_takes_a_partition_that_nobody_has_and_the_last_one_opens(rig: Rig) -> None:
    desk = Desk(rig)
    first, second, third = _join(desk, "first"), _join(desk, "second"), _join(desk, "third")
    held = [each.partition for each in (first, second, third)]
    expect(held, [0, 1, None], "what each of three workers holds of two partitions")
    expect({first.identity}, {second.identity, third.identity}, "one recovery")
    expect(_puts_back(desk, first, desk.assertion(0, 0, Rec("a"), settled=True)), True, "first")
    expect(_join(desk, "first").partition, None, "a partition that is done, or another's")
    expect(_join(desk, "third").done, frozenset({0}), "what is done")
    expect(_puts_back(desk, second, desk.assertion(1, 0, Rec("b"), settled=True)), True, "second")
    expect(_join(desk, "second").done, frozenset(BOTH), "what is done")
    expect(_opens(desk, second), True, "open")
    desk.take(*BOTH)
    expect(desk.verdicts(0, 1, Rec("b")), [DUPLICATE], "a copy of what the second put back")
    expect(desk.verdicts(1, 1, Rec("a")), [DUPLICATE], "a copy of what the first put back")


def nothing_is_opened_before_all_partitions_are_done(rig: Rig) -> None:
    desk = Desk(rig)
    first = _join(desk, "first")
    expect(_puts_back(desk, first), True, "the end of a partition")
    expect(_opens(desk, first), False, "open while a partition is missing")
    second = _join(desk, "second")
    expect(_opens(desk, second), False, "open while a partition is held")
    expect(desk.ledger.open(desk.shard, second, {}, {}), False, "open as if the whole was held")
    desk.closed(desk.claims(0, 0, Rec("a")))
    expect(_puts_back(desk, second), True, "the end of the other one")
    expect(_opens(desk, second, 3), False, "open a topic of three")
    expect(_opens(desk, first), True, "open")


def the_partition_of_a_worker_that_died_is_taken_over_where_it_was(rig: Rig) -> None:
    desk = Desk(rig)
    dead, other = _join(desk, "dead"), _join(desk, "other")
    stretch = desk.assertion(0, 0, Rec("a"), end=4, settled=True)
    expect(desk.ledger.reassert(desk.shard, dead, stretch), True, "re-assert")
    expect(_join(desk, "dead", [0], _SHORT).partition, 0, "what is prolonged")
    time.sleep(_LONGER)
    heir = _join(desk, "other", BOTH)
    expect((heir.partition, heir.identity), (0, other.identity), "the lease, in one recovery")
    expect((heir.floors.get(0), heir.claimed.get(0)), (4, 4), "where the dead one was")
    late = desk.assertion(0, 4, Rec("b"), settled=True)
    expect(desk.ledger.reassert(desk.shard, dead, late), False, "re-assert by the dead one")
    expect(desk.ledger.reassert(desk.shard, dead, _end(dead, 9)), False, "its word for the end")
    expect(_join(desk, "dead", [0]).partition, None, "what the dead one gets")
    expect(_join(desk, "dead").done, frozenset(), "what is done")
    expect(_puts_back(desk, heir) and _puts_back(desk, other), True, "both ends")
    expect(_opens(desk, heir), True, "open")
    desk.take(*BOTH)
    expect(desk.verdicts(1, 0, Rec("a"), Rec("b")), [DUPLICATE, FRESH], "copies")


def nobody_puts_back_what_he_does_not_hold(rig: Rig) -> None:
    desk = Desk(rig)
    held, watching = _join(desk, "worker", [1]), _join(desk, "other", [1])
    expect((held.partition, watching.partition), (1, None), "what the two hold")
    wrong = (
        watching,
        dataclasses.replace(watching, partition=1),
        dataclasses.replace(held, partition=0),
        dataclasses.replace(held, partition=WHOLE),
        dataclasses.replace(held, identity=f"{held.identity}1"),
    )
    for recovery in wrong:
        put_back = desk.ledger.reassert(desk.shard, recovery, desk.assertion(1, 0, Rec("a")))
        expect(put_back, False, f"re-assert by one who holds {recovery.partition}")
        expect(_puts_back(desk, recovery), False, "the end of a partition")
    # What was suppressed may have had its owner on another partition, which is put back with it.
    owner = Assertion(0, 0, [7], [b"0123456789ab"], [1], [0])
    expect(desk.ledger.reassert(desk.shard, held, owner), True, "an owner on another partition")
    expect(_join(desk, "worker").done, frozenset(), "what is done")


def what_is_done_is_lost_with_the_data(rig: Rig) -> None:
    desk = Desk(rig)
    first, second = _join(desk, "first"), _join(desk, "second")
    expect(_puts_back(desk, first, desk.assertion(0, 0, Rec("a"), settled=True)), True, "first")
    rig.lose()
    expect(_puts_back(desk, second), False, "the end of the other one after a loss")
    expect(_opens(desk, second), False, "open after a loss")
    again = _join(desk, "second")
    expect((again.identity == first.identity, again.done), (False, frozenset()), "a new recovery")
    expect((again.partition, dict(again.floors)), (0, {}), "which begins anew")
    expect(_puts_back(desk, second), False, "re-assert under the lost one")
    for partition in BOTH:
        expect(_puts_back(desk, _join(desk, "second", [partition])), True, "the new ends")
    expect(_opens(desk, second), False, "open under the lost one")
    desk.closed(desk.claims(0, 0, Rec("a")))


def what_is_done_does_not_outlive_the_server(rig: Rig) -> None:
    desk = Desk(rig)
    first = _join(desk, "first")
    expect(_puts_back(desk, first) and _puts_back(desk, _join(desk, "first")), True, "both ends")
    rig.restart()
    expect(cast("Inspection", desk.ledger).look(desk.shard).done, frozenset(), "what is seen")
    expect(_opens(desk, first), False, "open on another server")
    again = _join(desk, "second")
    expect((again.partition, again.done), (0, frozenset()), "a new recovery")
    expect(_opens(desk, again), False, "open before anything was put back there")


def what_an_earlier_recovery_has_done_does_not_count(rig: Rig) -> None:
    desk = Desk(rig)
    first = _join(desk, "first")
    expect(_puts_back(desk, first) and _puts_back(desk, _join(desk, "first")), True, "both ends")
    expect(_opens(desk, first), True, "open")
    surgery = cast("Surgery", desk.ledger)
    surgery.unseal(desk.shard)
    expect(_opens(desk, first), False, "open what was opened before")
    second = _join(desk, "first")
    expect((second.partition, second.done), (0, frozenset()), "a new recovery")
    expect(second.identity == first.identity, False, "of another name")
    expect(_puts_back(desk, second), True, "an end")
    surgery.unseal(desk.shard)
    expect(_join(desk, "first").done, frozenset(), "after the seal was broken under way")
    for partition in BOTH:
        expect(_puts_back(desk, _join(desk, "first", [partition])), True, "both ends")
    for late in (first, second):
        expect(_puts_back(desk, late), False, "the end in an earlier one")
        expect(_opens(desk, late), False, "open by who was in an earlier one")


def the_shard_as_a_whole_is_held_by_one_who_shares_it_with_nobody(rig: Rig) -> None:
    desk = Desk(rig)
    shared = _join(desk, "first")
    expect(desk.ledger.lock(desk.shard, "second", 60), None, "the whole, of which one has a part")
    _join(desk, "first", [0], _SHORT)
    time.sleep(_LONGER)
    whole = desk.lock("second")
    expect((whole.partition, whole.done), (WHOLE, frozenset()), "the whole")
    expect(desk.ledger.lock(desk.shard, "first", 60, BOTH), None, "a part of it")
    expect(_puts_back(desk, shared), False, "the end of a part that was held before")
    desk.lock("second", _SHORT)
    time.sleep(_LONGER)
    again = _join(desk, "first")
    expect((again.partition, again.identity == whole.identity), (0, False), "a part, afterwards")
    expect(desk.ledger.open(desk.shard, whole, {}, {}), False, "open by who had the whole")


def a_shard_that_is_open_is_not_shared(rig: Rig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    found = _join(desk, "late")
    expect((found.sealed, found.partition), (True, None), "sealed, and nothing to hold")
    expect(cast("Inspection", desk.ledger).look(desk.shard).recovering, False, "recovered")
    expect(_puts_back(desk, found), False, "re-assert")
    expect(_opens(desk, found, 0) or _opens(desk, found), False, "open")
    expect(desk.ledger.confirm(desk.shard, seal), True, "confirm")


def whoever_opens_what_his_fellow_has_opened_changes_nothing(rig: Rig) -> None:
    desk = Desk(rig)
    first, second = _join(desk, "first"), _join(desk, "second")
    expect(_puts_back(desk, first) and _puts_back(desk, second), True, "both ends")
    expect(_opens(desk, first), True, "open")
    desk.take(*BOTH)
    seal = desk.ask(desk.claims(0, 0, Rec("a"))).seal
    expect(desk.ledger.open(desk.shard, second, {0: 9}, {0: 9}, 2), True, "open again")
    expect(desk.ledger.confirm(desk.shard, seal), True, "confirm")
    expect(desk.verdicts(0, 0, Rec("a")), [AGAIN], "the owner")


def what_is_put_back_to_its_end_is_settled_up_to_the_frontier(rig: Rig) -> None:
    desk = Desk(rig)
    held = _join(desk, "worker", [0])
    expect(desk.ledger.reassert(desk.shard, held, _end(held, 5)), True, "the end")
    expect(_puts_back(desk, _join(desk, "worker", [1])), True, "the other end")
    expect(_opens(desk, held), True, "open")
    taken = desk.take(0)[0]
    expect((taken.claimed, taken.floor), (5, 5), "claimed and floor")


def a_look_shows_what_is_done(rig: Rig) -> None:
    desk = Desk(rig)
    held = _join(desk, "worker")
    found = cast("Inspection", desk.ledger).look(desk.shard)
    expect((found.recovering, found.done), (True, frozenset()), "while a partition is held")
    expect(_puts_back(desk, held), True, "the end of it")
    found = cast("Inspection", desk.ledger).look(desk.shard)
    expect((found.recovering, found.done), (False, frozenset({0})), "when it is done")
    expect(cast("Surgery", desk.ledger).purge(desk.shard), True, "purge while nobody holds any")
    expect(_join(desk, "worker").done, frozenset(), "what is done after that")


EXERCISES: tuple[Exercise, ...] = (
    each_worker_takes_a_partition_that_nobody_has_and_the_last_one_opens,
    nothing_is_opened_before_all_partitions_are_done,
    the_partition_of_a_worker_that_died_is_taken_over_where_it_was,
    nobody_puts_back_what_he_does_not_hold,
    what_is_done_is_lost_with_the_data,
    what_is_done_does_not_outlive_the_server,
    what_an_earlier_recovery_has_done_does_not_count,
    the_shard_as_a_whole_is_held_by_one_who_shares_it_with_nobody,
    a_shard_that_is_open_is_not_shared,
    whoever_opens_what_his_fellow_has_opened_changes_nothing,
    what_is_put_back_to_its_end_is_settled_up_to_the_frontier,
    a_look_shows_what_is_done,
)
