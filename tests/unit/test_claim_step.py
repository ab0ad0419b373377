from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from eos.claim import Claim
from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.consume import Lane, Slice
from eos.core import events
from eos.core.errors import AbortableError, FatalError
from eos.core.keys import standard
from eos.core.ports import Claimed, Claims, Refused
from eos.core.record import Record, Shard
from eos.core.rules import Admission, Owner, Verdict
from eos.core.settings import Settings

SETTINGS = Settings(group="g", brokers="a:1", ledger="memory:")
SHARD = Shard("ns", "g", "id")
ALL = (Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.SETTLED)


class Ledger:
    """Answers what a test wants."""

    def __init__(self) -> None:
        self.answer: Claimed | Refused = Claimed("seal", [], {})
        self.asked: list[Sequence[Claims]] = []
        self.seals = {"seal"}

    def claim(self, _shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        self.asked.append(batch)
        return self.answer

    def confirm(self, _shard: Shard, seal: str) -> bool:
        return seal in self.seals


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.ledger = Ledger()
        self.events: list[events.Event] = []
        self.recovered: list[tuple[str, str, Mapping[int, int]]] = []
        ledger: Any = self.ledger
        self.claim = Claim(
            ledger=ledger,
            identify=Identify(standard, Digest(b"secret"), by_partition=False),
            recover=lambda *given: self.recovered.append(given),
            settings=replace(SETTINGS, **settings),
            emit=self.events.append,
        )

    def verdicts(self, *verdicts: Verdict, seal: str = "seal", unkeyed: int = -1) -> Slice:
        """Claim records that get these verdicts."""
        suppressed = (Verdict.DUPLICATE, Verdict.CONFLICT)
        owners = {n: Owner(0, 0, 1) for n, v in enumerate(verdicts) if v in suppressed}
        self.ledger.answer = Claimed(seal, list(verdicts), owners)
        (slice_,) = self.claim([slice_of(len(verdicts), unkeyed=unkeyed)])
        return slice_


def slice_of(count: int, *, start: int = 10, frontier: int = 10, unkeyed: int = -1) -> Slice:
    lane = Lane(("in", 0), SHARD, 7, 1, frontier, start + count)
    records = [
        Record(
            *("in", "id", 0, start + n, None, b"v"),
            [] if n == unkeyed else [("message-id", b"%d" % n)],
            5000,
        )
        for n in range(count)
    ]
    return Slice(lane, start, start + count, records, count)


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


def test_a_settled_record_without_a_key_is_no_dead_letter() -> None:
    slice_ = Bench(missing_key="dead_letter").verdicts(Verdict.SETTLED, unkeyed=0)
    assert slice_.rejected == []


def test_verdicts_are_told_once_a_batch_with_the_cause_of_duplicates() -> None:
    bench = Bench()
    bench.ledger.answer = Claimed(
        "seal",
        [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.CONFLICT],
        {0: Owner(0, 1, 1), 1: Owner(3, 1, 1), 2: Owner(0, 1, 2)},
    )
    bench.claim([slice_of(3, unkeyed=2)])
    (told,) = bench.events
    assert isinstance(told, events.Claimed)
    assert told.verdicts == {Verdict.DUPLICATE: 2, Verdict.CONFLICT: 1}
    assert (told.same_partition, told.unkeyed) == (1, 1)


def test_a_closed_ledger_is_recovered_and_the_batch_comes_again() -> None:
    bench = Bench()
    bench.ledger.answer = Refused(Admission.CLOSED)
    with pytest.raises(AbortableError) as caught:
        bench.claim([slice_of(1)])
    assert caught.value.cause == "ledger_closed"
    assert bench.recovered == [("in", "closed", {})]


def test_a_gap_right_at_the_frontier_is_recovered() -> None:
    bench = Bench()
    bench.ledger.answer = Refused(Admission.GAP, 0)
    with pytest.raises(AbortableError) as caught:
        bench.claim([slice_of(1)])
    assert caught.value.cause == "ledger_gap"
    assert bench.recovered == [("in", "gap", {0: 10})]


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
