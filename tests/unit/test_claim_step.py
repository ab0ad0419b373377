from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from eos.claim import Claim
from eos.claim.away import UNCHECKED
from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.consume import Lane, Slice
from eos.core import events
from eos.core.errors import AbortableError, FatalError
from eos.core.events import Tally
from eos.core.frontier import Replay
from eos.core.keys import standard
from eos.core.ports import Claimed, Claims, Known, Mark, Refused
from eos.core.record import Record, Shard
from eos.core.rules import Admission, Owner, Verdict
from eos.core.settings import Settings

SETTINGS = Settings(group="g", brokers="a:1", ledger="memory:")
SHARD = Shard("ns", "g", "id")
UNKNOWN = Known(0, 0)
ALL = (Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.SETTLED)


class Ledger:
    """Answers what a test wants."""

    def __init__(self) -> None:
        self.answer: Claimed | Refused = Claimed("seal", [], {}, {0: UNKNOWN})
        self.asked: list[Sequence[Claims]] = []
        self.seals = {"seal"}
        self.rewound: list[Mark] = []

    def claim(self, _shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        self.asked.append(batch)
        return self.answer

    def confirm(self, _shard: Shard, seal: str) -> bool:
        return seal in self.seals

    def rewind(self, _shard: Shard, marks: Sequence[Mark]) -> bool:
        self.rewound += marks
        return True


class Recovery:
    """Writes down what it was asked for."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench

    def __call__(self, topic: str, cause: str, begins: Mapping[int, int]) -> int:
        self._bench.recovered.append((topic, cause, begins))
        return self._bench.read_again

    def load(self, topic: str, replayed: Mapping[int, range]) -> int:
        self._bench.loaded.append((topic, replayed))
        return self._bench.read_again


class Bench:
    def __init__(self, *, plain: bool = False, **settings: Any) -> None:
        self.plain = plain
        self.ledger = Ledger()
        self.events: list[events.Event] = []
        self.begun: list[tuple[str, int]] = []
        self.read_again = 0
        self.recovered: list[tuple[str, str, Mapping[int, int]]] = []
        self.loaded: list[tuple[str, Mapping[int, range]]] = []
        ledger: Any = self.ledger
        self.claim = Claim(
            ledger=ledger,
            identify=Identify(standard, Digest(b"secret"), by_partition=False, group="g"),
            recover=Recovery(self),
            begin=lambda lanes: self.begun.extend(lane.partition for lane in lanes),
            settings=replace(SETTINGS, **settings),
            emit=self.events.append,
        )

    def verdicts(
        self,
        *verdicts: Verdict,
        seal: str = "seal",
        unkeyed: int = -1,
        known: Known = UNKNOWN,
        hearsay: Collection[int] = (),
        begun: int = 0,
    ) -> Slice:
        """Claim records that get these verdicts; one without a key is not asked for."""
        asked = [verdict for n, verdict in enumerate(verdicts) if n != unkeyed]
        suppressed = (Verdict.DUPLICATE, Verdict.CONFLICT)
        owners = {n: Owner(0, 0, 1) for n, v in enumerate(asked) if v in suppressed}
        self.ledger.answer = Claimed(seal, asked, owners, {0: known}, frozenset(hearsay))
        slice_ = slice_of(len(verdicts), unkeyed=unkeyed, plain=self.plain, begun=begun)
        assert self.claim([slice_]) == [slice_]
        return slice_

    def told(self) -> events.Claimed:
        (event,) = self.events
        assert isinstance(event, events.Claimed)
        return event


def slice_of(
    count: int,
    *,
    start: int = 10,
    frontier: int = 10,
    unkeyed: int = -1,
    plain: bool = False,
    begun: int = 0,
) -> Slice:
    lane = Lane(("in", 0), SHARD, 7, 1, frontier, start + count, plain=plain, begun=begun)
    records = [
        Record(
            *("in", "id", 0, start + n, None, b"v"),
            [] if n == unkeyed else [("message-id", b"%d" % n)],
            5000,
        )
        for n in range(count)
    ]
    return Slice(lane, start, start + count, records, [r.offset for r in records])


def offsets(slice_: Slice) -> list[int]:
    return [record.offset for record in slice_.records]


def test_the_ledger_is_told_all_that_its_rules_ask_for_in_one_call() -> None:
    bench = Bench()
    bench.verdicts(Verdict.FRESH, Verdict.FRESH)
    ((claims,),) = bench.ledger.asked
    assert (claims.partition, claims.epoch, claims.frontier) == (0, 7, 10)
    assert (claims.start, claims.end, claims.offsets) == (10, 12, [10, 11])
    assert (len(claims.digests), claims.times) == (2, [5, 5])


def test_what_nobody_else_owns_is_handled_and_the_rest_is_not() -> None:
    slice_ = Bench().verdicts(*ALL)
    assert offsets(slice_) == [10, 11]
    assert [(record.offset, reason) for record, reason in slice_.rejected] == [(13, "conflict")]
    assert (slice_.start, slice_.end, slice_.read) == (10, 15, 5)  # all of it is settled


def test_a_conflict_is_handled_where_that_is_asked_for() -> None:
    slice_ = Bench(conflict="handle").verdicts(*ALL)
    assert offsets(slice_) == [10, 11, 13]
    assert slice_.rejected == []


def test_a_conflict_stops_the_line_where_that_is_asked_for() -> None:
    with pytest.raises(FatalError, match=r"in\[0\]@13.*conflict"):
        Bench(conflict="fail").verdicts(*ALL)


@pytest.mark.parametrize("policy", ["position", "dead_letter", "fail"])
def test_a_record_without_a_key_follows_the_policy(policy: str) -> None:
    bench = Bench(missing_key=policy)
    if policy == "fail":
        with pytest.raises(FatalError, match="missing_key"):
            bench.verdicts(Verdict.FRESH, Verdict.FRESH, unkeyed=1)
        return
    slice_ = bench.verdicts(Verdict.FRESH, Verdict.FRESH, unkeyed=1)
    assert offsets(slice_) == ([10, 11] if policy == "position" else [10])
    assert [reason for _, reason in slice_.rejected] == (
        [] if policy == "position" else ["missing_key"]
    )


def test_a_record_without_a_key_is_not_asked_for_and_stays_in_its_place() -> None:
    bench = Bench()
    slice_ = bench.verdicts(Verdict.FRESH, Verdict.FRESH, Verdict.DUPLICATE, unkeyed=1)
    ((claims,),) = bench.ledger.asked
    assert claims.offsets == [10, 12]
    assert offsets(slice_) == [10, 11]
    assert bench.told().unkeyed == 1


def test_a_settled_record_without_a_key_is_neither_handled_nor_a_dead_letter() -> None:
    slice_ = Bench(missing_key="dead_letter").verdicts(
        Verdict.SETTLED, unkeyed=0, known=Known(floor=11, begun=0)
    )
    assert (slice_.records, slice_.rejected) == ([], [])


def test_a_batch_of_new_records_is_counted_and_left_as_it_is() -> None:
    bench = Bench()
    slice_ = bench.verdicts(Verdict.FRESH, Verdict.FRESH)
    assert (offsets(slice_), slice_.judged) == ([10, 11], None)
    assert bench.told().tallies == [Tally("in", {Verdict.FRESH: 2}, 0)]


def test_verdicts_are_told_once_a_batch_with_the_cause_of_duplicates() -> None:
    bench = Bench()
    bench.ledger.answer = Claimed(
        "seal",
        [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.CONFLICT],
        {0: Owner(0, 1, 1), 1: Owner(3, 1, 1), 2: Owner(0, 1, 2)},
        {0: UNKNOWN},
    )
    bench.claim([slice_of(4, unkeyed=3)])
    told = bench.told()
    verdicts = {Verdict.DUPLICATE: 2, Verdict.CONFLICT: 1, Verdict.FRESH: 1}
    assert told.tallies == [Tally("in", verdicts, same_partition=1)]
    assert (told.topic, told.unkeyed, told.in_doubt, told.unchecked) == ("in", 1, 0, 0)


# --- plain tier ------------------------------------------------------------------------------


def doubts(slice_: Slice) -> dict[int, bool]:
    return {record.offset: record.in_doubt for record in slice_.records}


@pytest.mark.parametrize(
    ("policy", "marked"), [("retry", 12), ("skip", 0), ("dead_letter", 0), ("reconcile", 0)]
)
def test_only_the_policy_that_may_repeat_marks_a_whole_batch_as_begun(
    policy: str, marked: int
) -> None:
    bench = Bench(plain=True, in_doubt=policy, reconcile=lambda _: False)
    bench.verdicts(Verdict.FRESH, Verdict.FRESH)
    ((claims,),) = bench.ledger.asked
    assert claims.begun == marked


def test_nothing_is_marked_as_begun_where_effect_and_offset_are_one() -> None:
    bench = Bench()
    bench.verdicts(Verdict.AGAIN)
    ((claims,),) = bench.ledger.asked
    assert claims.begun == 0


def test_what_may_have_begun_before_is_handed_out_in_doubt_and_the_rest_is_not() -> None:
    slice_ = Bench(plain=True).verdicts(
        Verdict.AGAIN, Verdict.AGAIN, Verdict.FRESH, known=Known(10, begun=11)
    )
    assert doubts(slice_) == {10: True, 11: False, 12: False}


def test_a_record_without_a_key_can_be_in_doubt_too() -> None:
    slice_ = Bench(plain=True).verdicts(Verdict.FRESH, unkeyed=0, known=Known(10, begun=11))
    assert doubts(slice_) == {10: True}


def test_nothing_is_in_doubt_where_effect_and_offset_are_one() -> None:
    slice_ = Bench().verdicts(Verdict.AGAIN, known=Known(10, begun=11))
    assert doubts(slice_) == {10: False}


def test_a_mark_of_our_own_that_nothing_began_under_puts_nothing_in_doubt() -> None:
    bench = Bench(plain=True)
    slice_ = bench.verdicts(Verdict.FRESH, Verdict.FRESH)
    assert (slice_.lane.marked, slice_.lane.begun) == (12, 0)
    bench.ledger.answer = Claimed("seal", [Verdict.AGAIN] * 2, {}, {0: Known(10, begun=12)})
    again = slice_of(2, plain=True)
    again.lane = slice_.lane
    bench.claim([again])
    assert doubts(again) == {10: False, 11: False}


@pytest.mark.parametrize("verdict", [Verdict.DUPLICATE, Verdict.CONFLICT])
def test_an_owner_by_hearsay_suppresses_nothing_that_may_have_begun(verdict: Verdict) -> None:
    slice_ = Bench(plain=True).verdicts(verdict, verdict, known=Known(10, begun=11), hearsay=[0, 1])
    assert doubts(slice_) == {10: True}
    assert [(record.offset, why) for record, why in slice_.rejected] == (
        [(11, "conflict")] if verdict is Verdict.CONFLICT else []
    )


def test_a_copy_that_is_handed_out_in_doubt_does_not_count_as_suppressed() -> None:
    bench = Bench(plain=True)
    bench.verdicts(Verdict.DUPLICATE, known=Known(10, begun=11), hearsay=[0])
    (tally,) = bench.told().tallies
    assert Verdict.DUPLICATE not in tally.verdicts
    assert bench.told().in_doubt == 1


def test_what_is_in_doubt_is_skipped_where_that_is_asked_for() -> None:
    bench = Bench(plain=True, in_doubt="skip")
    slice_ = bench.verdicts(Verdict.AGAIN, Verdict.FRESH, known=Known(10, begun=11))
    assert (offsets(slice_), slice_.rejected) == ([11], [])
    assert (slice_.start, slice_.end) == (10, 12)  # all of it is settled
    assert bench.told().in_doubt == 1


def test_what_is_in_doubt_is_a_dead_letter_where_that_is_asked_for() -> None:
    slice_ = Bench(plain=True, in_doubt="dead_letter").verdicts(
        Verdict.AGAIN, Verdict.FRESH, known=Known(10, begun=11)
    )
    assert offsets(slice_) == [11]
    assert [(record.offset, why) for record, why in slice_.rejected] == [(10, "in_doubt")]


def test_what_a_function_is_to_be_asked_about_is_handed_out_in_doubt() -> None:
    # When its turn has come, and not before: see the third step.
    slice_ = Bench(
        plain=True, in_doubt="reconcile", reconcile=lambda _: pytest.fail("asked")
    ).verdicts(Verdict.AGAIN, Verdict.FRESH, known=Known(10, begun=11))
    assert doubts(slice_) == {10: True, 11: False}


def test_seals_of_plain_topics_are_not_collected_for_a_transaction() -> None:
    bench = Bench(plain=True)
    assert bench.verdicts(Verdict.FRESH).seal == "seal"
    assert bench.verdicts(Verdict.FRESH, seal="another").seal == "another"
    assert bench.claim.release_seals() == {}


def test_a_mark_that_a_new_seal_brings_is_not_taken_for_our_own() -> None:
    bench = Bench(plain=True)
    slice_ = bench.verdicts(Verdict.FRESH, Verdict.FRESH)
    assert slice_.lane.marked == 12
    # The ledger was lost, and opened with the end of the log; that is where our mark was.
    bench.ledger.answer = Claimed("another", [Verdict.AGAIN] * 2, {}, {0: Known(10, begun=12)})
    again = slice_of(2, plain=True)
    again.lane = slice_.lane
    bench.claim([again])
    assert doubts(again) == {10: True, 11: True}


def test_what_no_ledger_was_asked_about_is_counted() -> None:
    bench = Bench(plain=True)
    slice_ = bench.verdicts(Verdict.FRESH, Verdict.FRESH, seal=UNCHECKED)
    assert offsets(slice_) == [10, 11]
    assert bench.told().unchecked == 2


def test_a_lane_is_begun_in_the_log_when_the_ledger_is_open_and_before_it_is_claimed() -> None:
    bench = Bench()
    slice_ = slice_of(1)
    slice_.lane.ours = False
    closed, claimed = Refused(Admission.CLOSED), Claimed("seal", [Verdict.FRESH], {}, {0: UNKNOWN})
    begun_before: list[int] = []

    def claim(_shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        bench.ledger.asked.append(batch)
        begun_before.append(len(bench.begun))
        return claimed if batch else closed

    bench.ledger.claim = claim  # type: ignore[method-assign]
    bench.claim([slice_])
    assert [len(batch) for batch in bench.ledger.asked] == [0, 1]
    assert (begun_before, bench.begun) == ([0, 1], [("in", 0)])
    assert bench.recovered == [("in", "closed", {})]


# --- refusals --------------------------------------------------------------------------------


def test_a_closed_ledger_is_recovered_and_the_batch_comes_again() -> None:
    bench = Bench()
    bench.ledger.answer = Refused(Admission.CLOSED)
    with pytest.raises(AbortableError) as caught:
        bench.claim([slice_of(1)])
    assert caught.value.cause == "ledger_closed"
    assert bench.recovered == [("in", "closed", {})]


@pytest.mark.parametrize("first", [0, 7])
def test_a_gap_right_at_the_frontier_is_recovered_and_not_below_where_the_group_began(
    first: int,
) -> None:
    bench = Bench()
    bench.ledger.answer = Refused(Admission.GAP, 0)
    slice_ = slice_of(1)
    slice_.lane.first = first
    with pytest.raises(AbortableError) as caught:
        bench.claim([slice_])
    assert caught.value.cause == "ledger_gap"
    assert bench.recovered == [("in", "gap", {0: first})]


def test_a_gap_above_the_frontier_is_only_rewound_for_the_claims_below_are_ours() -> None:
    bench = Bench()
    bench.ledger.answer = Refused(Admission.GAP, 0)
    with pytest.raises(AbortableError):
        bench.claim([slice_of(1, start=12, frontier=10)])
    assert bench.recovered == []


def test_a_newer_epoch_ends_the_batch() -> None:
    bench = Bench()
    bench.ledger.answer = Refused(Admission.FENCED, 0)
    with pytest.raises(AbortableError) as caught:
        bench.claim([slice_of(1)])
    assert caught.value.cause == "ledger_fenced"
    assert bench.recovered == []


def test_all_claims_of_a_transaction_are_made_under_one_seal() -> None:
    bench = Bench()
    bench.verdicts(Verdict.FRESH)
    with pytest.raises(AbortableError) as caught:
        bench.verdicts(Verdict.FRESH, seal="another")
    assert caught.value.cause == "ledger_resealed"


def test_a_transaction_is_confirmed_under_the_seals_of_its_own_claims() -> None:
    bench = Bench()
    bench.verdicts(Verdict.FRESH)
    seals = bench.claim.release_seals()
    bench.verdicts(Verdict.FRESH, seal="another")  # of the next transaction
    bench.claim.confirm(seals)
    bench.ledger.seals = {"another"}
    with pytest.raises(AbortableError) as caught:
        bench.claim.confirm(seals)
    assert caught.value.cause == "ledger_resealed"
    bench.claim.confirm(bench.claim.release_seals())
    assert bench.claim.release_seals() == {}


def test_a_floor_from_before_a_replay_is_taken_back_and_nothing_is_suppressed_by_it() -> None:
    bench = Bench()
    slice_ = slice_of(2)
    slice_.lane.replay = Replay(20, 20)
    bench.ledger.answer = Claimed("seal", [Verdict.SETTLED] * 2, {}, {0: Known(20, 0)})
    with pytest.raises(AbortableError):
        bench.claim([slice_])
    assert bench.ledger.rewound == [Mark(0, 7, 10)]
    assert offsets(slice_) == [10, 11]


def test_a_floor_above_what_is_not_replayed_is_believed() -> None:
    bench = Bench()
    slice_ = slice_of(2)
    slice_.lane.replay = Replay(10, 10)  # it is over
    bench.ledger.answer = Claimed("seal", [Verdict.SETTLED] * 2, {}, {0: Known(20, 0)})
    bench.claim([slice_])
    assert (bench.ledger.rewound, offsets(slice_)) == ([], [])
