# ruff: noqa: D103
# The name of an exercise is its sentence.
"""The window, which is counted in log time."""

import time

from eos.core.rules import Verdict
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, Desk, Exercise, Rec, Rig, expect

FRESH, AGAIN = Verdict.FRESH, Verdict.AGAIN
DUPLICATE = Verdict.DUPLICATE

DROPS = BASE + GENERATION + WINDOW
"""The frontier time at which the generation that begins at BASE may go."""

TEN_YEARS = 10 * 365 * 86_400


def an_owner_is_kept_until_every_frontier_has_passed_its_generation_by_the_window(
    rig: Rig,
) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a", time=BASE + GENERATION - 1))
    expect(desk.advance({0: DROPS - 1, 1: DROPS + GENERATION}), 1, "live, a second too early")
    expect(desk.verdicts(1, 0, Rec("a", time=DROPS)), [DUPLICATE], "a copy in the window")
    expect(desk.advance({0: DROPS}), 0, "live, when all have passed")
    expect(desk.verdicts(1, 1, Rec("a", time=DROPS)), [FRESH], "a copy behind the window")


def the_slowest_partition_holds_what_it_may_need(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    expect(desk.advance({0: DROPS + 50 * WINDOW, 1: DROPS - 1}), 1, "live")
    expect(desk.verdicts(1, 0, Rec("a", time=DROPS - 1)), [DUPLICATE], "a copy that lags")


def a_partition_nobody_has_told_of_holds_everything(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    expect(desk.advance({0: DROPS, 1: DROPS}, partitions=3), 1, "live")
    expect(desk.advance({2: DROPS}, partitions=3), 0, "live, when all are known")


def frontier_times_never_fall(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a"))
    desk.advance({0: DROPS})
    expect(desk.advance({0: BASE, 1: DROPS}), 0, "live")


def an_owner_is_filed_under_the_time_of_its_record_not_of_its_claim(rig: Rig) -> None:
    # Claimed just now, years late: its window is over when the log is past it all the same.
    desk = Desk.opened(rig)
    old, new = Rec("old"), Rec("new", time=BASE + GENERATION)
    desk.verdicts(0, 0, old, new)
    expect(desk.advance({0: DROPS, 1: DROPS}), 1, "live")
    copies = (Rec("old", time=DROPS), Rec("new", time=DROPS))
    expect(desk.verdicts(1, 0, *copies), [FRESH, DUPLICATE], "copies of both")


def a_stamp_older_than_the_partition_is_filed_under_the_partitions_time(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("x", time=BASE + 5 * GENERATION), Rec("a", time=BASE))
    desk.verdicts(0, 2, Rec("b", time=-1))
    desk.advance({0: DROPS, 1: DROPS})
    copies = (Rec("a", time=DROPS), Rec("b", time=DROPS))
    expect(desk.verdicts(1, 0, *copies), [DUPLICATE, DUPLICATE], "copies of records out of order")


def each_partition_has_its_own_time(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("x", time=BASE + 5 * GENERATION))
    desk.verdicts(1, 0, Rec("a", time=BASE))
    expect(desk.advance({0: DROPS, 1: DROPS}), 1, "live")
    expect(desk.verdicts(1, 1, Rec("a", time=DROPS)), [FRESH], "what lagged behind its neighbour")


def nothing_is_filed_under_what_is_gone(rig: Rig) -> None:
    # Read to its end, a partition counts as now; then a record with an old stamp arrives.
    desk = Desk.opened(rig)
    desk.advance({0: DROPS, 1: DROPS})
    desk.verdicts(0, 0, Rec("a", time=BASE))
    desk.advance({0: DROPS, 1: DROPS})
    expect(desk.verdicts(1, 0, Rec("a", time=DROPS)), [DUPLICATE], "a copy just behind it")


def a_stamp_from_the_future_is_filed_under_now(rig: Rig) -> None:
    # One generation holds ten years, so that no test runs across its end.
    length = max(TEN_YEARS, int(time.time()) // 4)
    desk = Desk.opened(rig, window=length, generation=length)
    later = int(time.time()) + 10 * length
    desk.verdicts(0, 0, Rec("a", time=later), Rec("b", time=int(time.time())))
    expect(desk.advance({}), 1, "live")


def a_frontier_time_from_the_future_counts_as_now(rig: Rig) -> None:
    desk = Desk.opened(rig, window=86_400, generation=86_400)
    now = int(time.time())
    desk.verdicts(0, 0, Rec("a", time=now))
    expect(desk.advance({0: now + TEN_YEARS, 1: now + TEN_YEARS}), 1, "live")
    expect(desk.verdicts(1, 0, Rec("a", time=now)), [DUPLICATE], "a copy")


def owners_are_found_in_every_live_generation(rig: Rig) -> None:
    desk = Desk.opened(rig)
    records = [Rec(f"k{i}", time=BASE + i * GENERATION) for i in range(4)]
    desk.verdicts(0, 0, *records)
    expect(desk.advance({}), 4, "live")
    late = [Rec(f"k{i}", time=BASE + 3 * GENERATION) for i in range(4)]
    expect(desk.verdicts(1, 0, *late), [DUPLICATE] * 4, "copies of all ages")
    expect(desk.verdicts(0, 0, *records), [AGAIN] * 4, "the owners themselves")
    expect(desk.advance({}), 4, "live: nobody was filed twice")


def a_lagging_partition_finds_owners_in_newer_generations(rig: Rig) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, Rec("a", time=BASE + 3 * GENERATION))
    expect(desk.verdicts(1, 0, Rec("a", time=BASE)), [DUPLICATE], "a copy with an older stamp")


def what_is_dropped_stays_dropped_and_the_rest_stays(rig: Rig) -> None:
    desk = Desk.opened(rig)
    count = 3000
    old = [Rec(f"old-{i}") for i in range(count)]
    new = [Rec(f"new-{i}", time=BASE + GENERATION) for i in range(count)]
    desk.verdicts(0, 0, *old)
    desk.verdicts(0, count, *new)
    for _ in range(5):
        expect(desk.advance({0: DROPS, 1: DROPS}), 1, "live")
    late = [Rec(r.key, time=DROPS) for r in (*old, *new)]
    want = [FRESH] * count + [DUPLICATE] * count
    expect(desk.verdicts(1, 0, *late), want, "copies of what is gone and of what is kept")
    expect(desk.verdicts(1, 0, *late), [AGAIN] * count + [DUPLICATE] * count, "once more")


def what_recovery_puts_back_is_filed_by_its_own_age(rig: Rig) -> None:
    desk = Desk(rig)
    recovery = desk.lock()
    stretch = desk.assertion(0, 0, Rec("old"), Rec("new", time=BASE + GENERATION))
    desk.ledger.reassert(desk.shard, recovery, stretch)
    desk.ledger.open(desk.shard, recovery, {0: 2, 1: 0}, {})
    desk.take(0, 1)
    expect(desk.advance({}), 2, "live")
    expect(desk.advance({0: DROPS, 1: DROPS}), 1, "live, when the older may go")
    copies = (Rec("old", time=DROPS), Rec("new", time=DROPS))
    expect(desk.verdicts(1, 0, *copies), [FRESH, DUPLICATE], "copies")


EXERCISES: tuple[Exercise, ...] = (
    an_owner_is_kept_until_every_frontier_has_passed_its_generation_by_the_window,
    the_slowest_partition_holds_what_it_may_need,
    a_partition_nobody_has_told_of_holds_everything,
    frontier_times_never_fall,
    an_owner_is_filed_under_the_time_of_its_record_not_of_its_claim,
    a_stamp_older_than_the_partition_is_filed_under_the_partitions_time,
    each_partition_has_its_own_time,
    nothing_is_filed_under_what_is_gone,
    a_stamp_from_the_future_is_filed_under_now,
    a_frontier_time_from_the_future_counts_as_now,
    owners_are_found_in_every_live_generation,
    a_lagging_partition_finds_owners_in_newer_generations,
    what_is_dropped_stays_dropped_and_the_rest_stays,
    what_recovery_puts_back_is_filed_by_its_own_age,
)
