"""What is handed out and what is settled of it, whatever happens between."""

from dataclasses import dataclass

import pytest

from eos.consume import Lane, Slice
from eos.core.record import Shard
from eos.doors.consumer.tape import Tape

P0, P1 = ("orders", 0), ("orders", 1)


@dataclass
class Told:
    """As much of a message as a tape looks at."""

    place: tuple[str, int]
    at: int
    failed: object = None

    def offset(self) -> int:
        return self.at

    def error(self) -> object:
        return self.failed

    def timestamp(self) -> tuple[int, int]:
        return (1, 0)

    def leader_epoch(self) -> int | None:
        return None


class Loop:
    """Loads a tape, and hands out of it."""

    def __init__(self) -> None:
        self.tape = Tape()
        self.lanes = {p: Lane(p, Shard("n", "g", "t"), 1, 1, 0, 0) for p in (P0, P1)}

    def load(self, **offsets: list[int]) -> None:
        """Load a batch: `p0=[…]`; offsets that are negative were read, and are suppressed."""
        messages: list[Told] = []
        batch = []
        for name, given in offsets.items():
            lane = self.lanes["orders", int(name[1])]
            first = len(messages)
            told = [Told(lane.partition, abs(offset)) for offset in given]
            messages += told
            end = told[-1].at + 1
            slice_ = Slice(lane, lane.next, end, [], [t.at for t in told], list(told))  # type: ignore[arg-type]
            lane.next = end
            places = [first + n for n, offset in enumerate(given) if offset >= 0]
            batch.append((slice_, places))
        self.tape.load(messages, batch)  # type: ignore[arg-type]

    def hand_out(self, number: int) -> list[int]:
        """Hand out so many; give their offsets."""
        tape = self.tape
        handed = [int(m.offset()) for m in tape.messages[tape.at : tape.at + number]]
        tape.at += len(handed)
        return handed

    @property
    def waiting(self) -> list[int]:
        """The offsets that are not handed out."""
        return [int(m.offset()) for m in self.tape.messages[self.tape.at : self.tape.left]]


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_what_was_only_read_ahead_is_not_handed_out(loop: Loop) -> None:
    loop.load(p0=[0, 1, 2], p1=[0, 1])
    assert loop.tape.ends() == {P0: 0, P1: 0}
    assert loop.hand_out(2) == [0, 1]
    assert loop.tape.ends() == {P0: 2, P1: 0}


def test_all_that_was_handed_out_counts_however_many_batches_it_came_in(loop: Loop) -> None:
    loop.load(p0=[0, 1, 2])
    loop.load(p0=[3, 4, 5])
    loop.load(p0=[6, 7])
    assert loop.hand_out(2) == [0, 1]
    loop.load(p0=[8, 9])
    assert loop.tape.ends() == {P0: 2}
    assert loop.hand_out(2) == [2, 3]
    loop.load(p0=[10])
    assert loop.tape.ends() == {P0: 4}


@pytest.mark.parametrize("handed", range(9))
@pytest.mark.parametrize("more", [False, True])
def test_the_end_is_the_same_whether_or_not_another_batch_was_loaded(
    loop: Loop, handed: int, more: bool
) -> None:
    loop.load(p0=[0, 1, 2], p1=[0])
    loop.load(p0=[3, 4])
    loop.load(p0=[5, 6])
    offsets = loop.hand_out(handed)
    if more:
        loop.load(p0=[7, 8])
    on_p0 = offsets[:3] + offsets[4:]
    assert loop.tape.ends()[P0] == (on_p0[-1] + 1 if on_p0 else 0)
    assert loop.tape.ends()[P1] == int(handed > 3)


def test_settling_takes_what_was_handed_out_and_nothing_else(loop: Loop) -> None:
    loop.load(p0=[0, 1, 2, 3])
    loop.load(p0=[4, 5])
    loop.hand_out(3)
    taken = loop.tape.take(loop.tape.ends())
    assert [(s.start, s.end, s.offsets) for s in taken] == [(0, 3, [0, 1, 2])]
    assert loop.tape.ends() == {P0: 3}
    assert loop.hand_out(9) == [3, 4, 5]
    assert [(s.start, s.end) for s in loop.tape.take(loop.tape.ends())] == [(3, 4), (4, 6)]
    assert loop.tape.ends() == {}


def test_a_commit_far_ahead_does_not_make_what_waits_count_as_handed_out(loop: Loop) -> None:
    loop.load(p0=[0, 1])
    loop.load(p0=[2, 3])
    loop.load(p0=[4, 5])
    loop.tape.take({P0: 2})  # the user commits what he was not handed
    assert loop.tape.ends().get(P0, 2) == 2
    assert loop.hand_out(1) == [0]
    assert loop.tape.ends().get(P0, 2) == 2


def test_what_was_committed_ahead_is_dropped_with_its_partition(loop: Loop) -> None:
    loop.load(p0=[0, 1, 2])
    loop.hand_out(1)
    loop.tape.take({P0: 3})
    loop.tape.drop([P0])
    assert loop.waiting == []


def test_suppressed_records_between_count_with_what_follows_or_ends_them(loop: Loop) -> None:
    loop.load(p0=[0, -1, 2, -3])
    loop.hand_out(1)
    assert loop.tape.ends() == {P0: 2}
    loop.hand_out(1)
    assert loop.tape.ends() == {P0: 4}


def test_a_batch_that_is_suppressed_as_a_whole_counts_at_once(loop: Loop) -> None:
    loop.load(p0=[-0 or 0, 1])
    loop.hand_out(2)
    loop.load(p0=[-2, -3])
    assert loop.waiting == []
    assert loop.tape.ends() == {P0: 4}


def test_a_gap_before_the_first_record_is_not_settled_before_it(loop: Loop) -> None:
    loop.load(p0=[0, 1])
    loop.hand_out(2)
    loop.load(p0=[100, 101])  # the user's seek made the gap
    assert loop.tape.ends() == {P0: 2}
    loop.hand_out(1)
    assert loop.tape.ends() == {P0: 101}


@pytest.mark.parametrize("handed", range(7))
def test_dropping_leaves_what_was_handed_out(loop: Loop, handed: int) -> None:
    loop.load(p0=[0, 1], p1=[0, 1])
    loop.load(p0=[2, 3])
    offsets = loop.hand_out(handed)
    before = loop.tape.ends()
    waiting = loop.waiting
    loop.tape.drop([P0])
    on_p0 = offsets[:2] + offsets[4:]
    assert loop.tape.ends().get(P0, 0) == before[P0] == len(on_p0)
    assert len(loop.waiting) == len(waiting) - (4 - len(on_p0))
    assert loop.tape.ends()[P1] == before[P1]


def test_dropping_a_gap_that_nothing_was_handed_out_behind_leaves_nothing(loop: Loop) -> None:
    loop.load(p0=[5, 6])
    loop.tape.drop([P0])
    assert (loop.tape.ends(), loop.waiting, loop.tape.touched(P0)) == ({}, [], False)


def test_a_cut_forgets_what_is_handed_out_again(loop: Loop) -> None:
    loop.load(p0=[0, 1, 2])
    loop.load(p0=[3, 4])
    loop.hand_out(5)
    loop.tape.drop([P0])
    loop.tape.cut(P0, 2)
    assert loop.tape.ends() == {P0: 2}
    assert [(s.start, s.end) for s in loop.tape.take({P0: 9})] == [(0, 2)]


def test_errors_are_handed_out_in_their_place_and_settle_nothing(loop: Loop) -> None:
    loop.load(p0=[0])
    loop.tape.load([Told(P0, 1, failed="end")], [])  # type: ignore[list-item]
    loop.load(p0=[1])
    assert loop.hand_out(2) == [0, 1]
    assert loop.tape.ends() == {P0: 1}
    assert loop.hand_out(1) == [1]
    assert loop.tape.ends() == {P0: 2}


def test_what_could_not_be_settled_is_put_back_in_order(loop: Loop) -> None:
    loop.load(p0=[0, 1])
    loop.load(p0=[2, 3])
    loop.hand_out(4)
    first = loop.tape.take({P0: 1})
    loop.tape.put_back(first)
    assert [(s.start, s.end) for s in loop.tape.take({P0: 4})] == [(0, 1), (1, 2), (2, 4)]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_where_the_next_ones_will_end_is_known_before_they_are_handed_out(
    loop: Loop, step: int
) -> None:
    loop.load(p0=[0, 1])
    loop.load(p0=[2, 3])
    (found,) = loop.tape.next_ends(step)
    assert found[1] == step
    assert found[0].start <= step - 1 < found[0].end
