"""A handler of lists that says for each record what became of it."""

from dataclasses import replace
from typing import Any

import pytest

from eos.core.errors import FatalError, HandlerError, RetriableError
from eos.core.record import Record, Send
from tests.unit.handling import MAX_BYTES, SETTINGS, Bench, Held

Calls = list[list[bytes | None]]


def outcomes(calls: Calls, **bad: list[Any]) -> Any:
    """Make a handler that returns for these payloads, one after the other, what is given."""

    def handler(records: list[Record]) -> list[Any]:
        calls.append([record.value for record in records])
        return [
            left.pop(0) if (left := bad.get((r.value or b"").decode(), [])) else Send(r.value)
            for r in records
        ]

    return handler


def values(bench: Bench, *given: bytes) -> list[bytes | None]:
    return [output.value for output in bench.run(*given) if output.topic == "out"]


def test_a_record_that_failed_is_tried_again_and_those_before_it_are_settled() -> None:
    calls: Calls = []
    bench = Bench(outcomes(calls, b=[ValueError("no"), ValueError("no")]), batch=True)
    assert values(bench, b"a", b"b", b"c") == [b"a", b"b", b"c"]
    assert calls == [[b"a", b"b", b"c"], [b"b", b"c"], [b"b", b"c"]]
    assert [(held.offset, held.attempts) for held in bench.held] == [(1, 1), (1, 2)]


def test_a_record_that_failed_too_often_is_a_dead_letter_and_those_behind_it_are_settled() -> None:
    bench = Bench(outcomes([], b=[ValueError("no")] * 3), batch=True)
    assert values(bench, b"a", b"b", b"c") == [b"a", b"c"]
    assert bench.letters() == ["handler_failed"]


def test_a_record_that_is_rejected_is_a_dead_letter_at_once() -> None:
    calls: Calls = []
    bench = Bench(outcomes(calls, b=[HandlerError("no", reason="rejected")]), batch=True)
    assert values(bench, b"a", b"b", b"c") == [b"a", b"c"]
    assert (bench.letters(), len(calls)) == (["rejected"], 1)


def test_a_result_that_cannot_be_sent_is_a_dead_letter_alone() -> None:
    calls: Calls = []
    bench = Bench(outcomes(calls, b=[Send(b"x" * MAX_BYTES)]), batch=True)
    assert values(bench, b"a", b"b", b"c") == [b"a", b"c"]
    assert (bench.letters(), len(calls)) == (["unsendable"], 1)


def test_who_is_busy_is_waited_for_as_long_as_he_says() -> None:
    busy = RetriableError("busy", on="app", after=7.0)
    bench = Bench(outcomes([], b=[busy]), batch=True)
    handled = bench.once(b"a", b"b", b"c")
    assert (handled.slice.end, bench.held) == (1, [Held(1, 0, 7.0)])


def test_who_is_busy_for_less_than_the_back_off_is_waited_for_as_that_says() -> None:
    busy = RetriableError("busy", on="app", after=0.001)
    bench = Bench(outcomes([], a=[busy]), batch=True)
    bench.once(b"a")
    assert bench.held[0].seconds >= 0.5


def test_an_exception_that_is_fatal_stops_the_worker() -> None:
    bench = Bench(outcomes([], b=[FatalError("stop")]), batch=True)
    with pytest.raises(FatalError, match="stop"):
        bench.once(b"a", b"b")


@pytest.mark.parametrize("policy", ["skip", "dead_letter"])
@pytest.mark.parametrize("error", [ValueError("no"), RetriableError("away")])
def test_where_effects_happen_once_at_most_none_of_a_batch_is_tried_again(
    policy: str, error: Exception
) -> None:
    settings = replace(SETTINGS, in_doubt=policy)
    handler = outcomes([], a=[None], b=[error], c=[None])
    bench = Bench(handler, to=None, batch=True, plain=True, settings=settings)
    handled = bench.once(b"a", b"b", b"c")
    assert (handled.slice.end, bench.held, bench.ledger.rewound) == (3, [], [])
    assert bench.letters() == ["handler_failed"]


def test_a_handler_is_told_of_the_records_before_it_is_called() -> None:
    seen: list[str] = []

    def handler(records: list[Record]) -> list[None]:
        seen.append(f"called with {len(records)}")
        return [None] * len(records)

    def ahead(records: list[Record]) -> None:
        seen.append(f"told of {len(records)}, marked {bench.lane.marked}")

    bench = Bench(handler, to=None, batch=True, plain=True, ahead=ahead)
    bench.once()
    bench.once(b"a", b"b")
    assert seen == ["told of 2, marked 2", "called with 2"]


@pytest.mark.parametrize("policy", ["skip", "dead_letter", "reconcile"])
def test_a_handler_is_told_of_nothing_where_a_policy_asks_about_each(policy: str) -> None:
    settings = replace(SETTINGS, in_doubt=policy, reconcile=lambda _: False)
    seen: list[object] = []
    bench = Bench(
        lambda records: [None] * len(records),
        to=None,
        batch=True,
        plain=True,
        settings=settings,
        ahead=seen.append,
    )
    bench.once(b"a")
    assert seen == []
