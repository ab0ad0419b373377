"""What a line does while its ledger is away, other than to pause."""

from collections.abc import Callable
from typing import Any

import pytest

from eos.claim.away import UNCHECKED, UNKNOWN, Fail, PassThrough, when_away
from eos.core.errors import FatalError, RetriableError
from eos.core.ports import Claimed, Claims, Known, Ledger, Mark, Refused
from eos.core.record import Shard
from eos.core.rules import Admission, Verdict
from eos.stores.memory.ledger import MemoryLedger

SHARD = Shard("ns", "g", "id")
MARK = Mark(0, 1, 5)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Away:
    """A ledger that can go away; asking it then takes a while."""

    def __init__(self, clock: Clock) -> None:
        self.ledger = MemoryLedger(60, clock=clock.time)
        self.clock = clock
        self.away = True
        self.hangs = 0.0
        self.on = "ledger"
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.asked.append(name)
            if self.away:
                self.clock.now += self.hangs
                raise RetriableError("no connection", self.on)
            return getattr(self.ledger, name)(*args)

        return call

    def open(self, claimed: int) -> None:
        """Open the shard, with so much claimed and settled."""
        recovery = self.ledger.lock(SHARD, "test", 10)
        assert recovery is not None
        assert self.ledger.open(SHARD, recovery, {0: claimed}, {})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def away(clock: Clock) -> Away:
    return Away(clock)


@pytest.fixture
def through(away: Away, clock: Clock) -> PassThrough:
    ledger: Any = away
    return PassThrough(ledger, clock)


def batch(start: int = 5, *, frontier: int = 5, epoch: int = 1) -> list[Claims]:
    offsets = [start, start + 1]
    keys = [b"%012d" % offset for offset in offsets]
    return [
        Claims(0, epoch, frontier, start, start + 2, 0, offsets, keys, [1, 1], [1000, 1000]),
        Claims(1, epoch, 0, 0, 1, 0),
    ]


def test_records_pass_while_the_ledger_is_away_and_are_known_to_be_unchecked(
    through: PassThrough,
) -> None:
    answer = through.claim(SHARD, batch())
    assert isinstance(answer, Claimed)
    assert answer.seal == UNCHECKED
    assert (answer.verdicts, answer.owners) == ([Verdict.FRESH] * 2, {})
    assert answer.known == {0: Known(5, 0), 1: Known(0, 0)}


def test_what_the_claimer_knows_to_be_settled_is_suppressed_all_the_same(
    through: PassThrough,
) -> None:
    answer = through.claim(SHARD, batch(frontier=6))
    assert isinstance(answer, Claimed)
    assert answer.verdicts == [Verdict.SETTLED, Verdict.FRESH]


def test_what_was_not_checked_needs_no_ledger_to_settle(through: PassThrough, away: Away) -> None:
    assert through.confirm(SHARD, UNCHECKED)
    assert through.begin(SHARD, UNCHECKED, MARK)
    assert through.settle(SHARD, UNCHECKED, [MARK]) is Admission.OPEN
    assert away.asked == []


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.confirm(SHARD, "seal"),
        lambda ledger: ledger.begin(SHARD, "seal", MARK),
        lambda ledger: ledger.settle(SHARD, "seal", [MARK]),
        lambda ledger: ledger.rewind(SHARD, [MARK]),
        lambda ledger: ledger.lock(SHARD, "token", 5),
    ],
    ids=["confirm", "begin", "settle", "rewind", "lock"],
)
def test_what_was_checked_waits_for_the_ledger(
    through: PassThrough, call: Callable[[Ledger], object]
) -> None:
    with pytest.raises(RetriableError, match="no connection"):
        call(through)


def test_epochs_of_the_local_clock_grow_and_fence_as_those_of_the_ledger_do(
    through: PassThrough, away: Away
) -> None:
    away.away = False
    before = through.take(SHARD, [0])[0]
    away.away = True
    away.clock.now += 1
    first, again = (through.take(SHARD, [0, 1]) for _ in range(2))
    assert before.epoch < first[0].epoch < again[0].epoch
    assert {taken.claimed for taken in first.values()} == {UNKNOWN}
    away.away = False
    away.clock.now += 60
    assert through.take(SHARD, [0])[0].epoch > again[0].epoch


def test_a_ledger_that_is_back_finds_a_gap_where_records_passed(
    through: PassThrough, away: Away
) -> None:
    away.open(claimed=5)
    assert isinstance(through.claim(SHARD, batch(5)), Claimed)
    away.away = False
    away.clock.now += 60
    assert through.claim(SHARD, batch(7, frontier=7)) == Refused(Admission.GAP, 0)


def test_a_ledger_that_is_back_before_anything_passed_goes_on_as_before(
    through: PassThrough, away: Away
) -> None:
    away.open(claimed=5)
    away.away = False
    answer = through.claim(SHARD, batch(5))
    assert isinstance(answer, Claimed)
    assert answer.seal != UNCHECKED


@pytest.mark.parametrize("hangs", [0.0, 5.0])
def test_a_server_that_hangs_takes_a_fifth_of_the_time_at_most(
    through: PassThrough, away: Away, clock: Clock, hangs: float
) -> None:
    away.hangs = hangs
    began = clock.now
    while clock.now < began + 500:
        assert isinstance(through.claim(SHARD, batch()), Claimed)
        clock.now += 0.1
    lost = len(away.asked) * hangs
    assert lost <= 0.2 * (clock.now - began)
    assert len(away.asked) >= 20  # it is noticed when it is back


def test_what_is_not_the_ledger_s_absence_is_waited_for(through: PassThrough, away: Away) -> None:
    away.on = "recovery"
    with pytest.raises(RetriableError):
        through.claim(SHARD, batch())


def test_the_window_moves_on_later(through: PassThrough) -> None:
    assert through.advance(SHARD, {0: 1}, 1) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.take(SHARD, [0]),
        lambda ledger: ledger.claim(SHARD, batch()),
        lambda ledger: ledger.confirm(SHARD, "seal"),
        lambda ledger: ledger.begin(SHARD, "seal", MARK),
        lambda ledger: ledger.settle(SHARD, "seal", [MARK]),
        lambda ledger: ledger.lock(SHARD, "token", 5),
    ],
    ids=["take", "claim", "confirm", "begin", "settle", "lock"],
)
def test_a_line_that_shall_fail_says_why(away: Away, call: Callable[[Ledger], object]) -> None:
    ledger: Any = away
    with pytest.raises(FatalError, match=r"ledger_down='fail'.*no connection"):
        call(Fail(ledger))
    away.away = False
    call(Fail(ledger))


def test_the_setting_chooses(away: Away) -> None:
    ledger: Any = away
    assert when_away("pause", ledger) is ledger
    assert isinstance(when_away("pass_through", ledger), PassThrough)
    assert isinstance(when_away("fail", ledger), Fail)
