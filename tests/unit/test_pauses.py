import pytest

from eos.consume.pace import Pace
from eos.retry import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(1.0, longest=8.0)
    pauses = [backoff.seconds(attempt) for attempt in range(1, 7)]
    for pause, least in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True):
        assert least <= pause <= least + 0.5


def test_a_pause_is_bounded_after_any_number_of_failures() -> None:
    assert Backoff(0.1).seconds(100_000) <= 30.1


def test_workers_do_not_come_back_in_step() -> None:
    backoff = Backoff(1.0)
    assert len({backoff.seconds(1) for _ in range(20)}) > 1


def test_no_pause_is_asked_for_where_none_is_wanted() -> None:
    assert Backoff(0.0).seconds(5) == 0.0


def batches(most: int, seconds_per_record: float, count: int) -> list[int]:
    """Give the sizes of batches whose records take so long each."""
    clock = Clock()
    pace = Pace(most, clock)
    sizes = []
    for _ in range(count):
        sizes.append(pace.limit())
        pace.handed_out()
        clock.now += sizes[-1] * seconds_per_record
    return sizes


def test_batches_begin_small_and_double_while_they_are_quick() -> None:
    assert batches(500, 0.0, 7) == [16, 32, 64, 128, 256, 500, 500]
    assert batches(10, 0.0, 3) == [10, 10, 10]


@pytest.mark.parametrize("seconds", [0.01, 0.1, 1.0, 10.0])
def test_batches_settle_where_they_take_about_a_second_and_never_below_one_record(
    seconds: float,
) -> None:
    sizes = batches(500, seconds, 20)[5:]
    assert all(1 <= size <= max(2, 2.1 / seconds) for size in sizes)


def test_a_poll_that_found_nothing_changes_no_size() -> None:
    clock = Clock()
    pace = Pace(500, clock)
    assert pace.limit() == 16
    clock.now += 3600
    assert pace.limit() == 16
