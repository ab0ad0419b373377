"""A handler that takes lists."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from eos.core.errors import RetriableError
from eos.core.record import Record, Send
from tests.unit.handling import SETTINGS, Bench, fails_on

Seen = list[tuple[int, bool]]
"""Offsets, and whether they were in doubt."""


def test_a_batch_handler_gets_a_list_and_gives_a_result_per_record() -> None:
    bench = Bench(lambda records: [Send(r.value) for r in records], batch=True)
    assert [o.value for o in bench.run(b"a", b"b")] == [b"a", b"b"]


def test_a_batch_handler_is_not_called_for_nothing() -> None:
    def handler(_records: list[Record]) -> list[Send]:
        raise AssertionError

    assert Bench(handler, batch=True).run() == []


def test_a_batch_that_fails_is_tried_record_by_record() -> None:
    sizes = []

    def handler(records: list[Record]) -> list[Send]:
        sizes.append(len(records))
        return [fails_on(b"poison")(each) for each in records]

    bench = Bench(handler, batch=True)
    outputs = bench.run(b"a", b"poison", b"b")
    assert [o.value for o in outputs if o.topic == "out"] == [b"a", b"b"]
    assert sizes == [3, 1, 1, 2, 1, 2, 1, 1]
    assert bench.letters() == ["handler_failed"]


def test_a_batch_generator_may_fail_in_the_middle() -> None:
    def handler(records: list[Record]) -> Iterator[Send]:
        for each in records:
            yield fails_on(b"poison")(each)

    bench = Bench(handler, batch=True)
    outputs = bench.run(b"a", b"poison", b"b")
    assert [o.value for o in outputs if o.topic == "out"] == [b"a", b"b"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_batch_handler_that_gives_another_number_of_results_loses_nothing(count: int) -> None:
    bench = Bench(lambda records: [Send("v")] * count * len(records), batch=True)
    outputs = bench.run(b"a", b"b")
    assert [o.topic for o in outputs] == ["ns.dead-letters"] * 2
    assert [o.value for o in outputs] == [b"a", b"b"]


def test_a_batch_whose_servers_are_away_waits_as_a_whole() -> None:
    calls = []

    def handler(records: list[Record]) -> list[Send]:
        calls.append(len(records))
        raise RetriableError("the shop is closed")

    bench = Bench(handler, batch=True)
    handled = bench.once(b"a", b"b")
    assert calls == [2]
    assert (handled.slice.end, handled.slice.attempts, len(bench.held)) == (0, 0, 1)


def test_a_handler_may_empty_the_list_that_it_was_given() -> None:
    def handler(records: list[Record]) -> Iterator[Send]:
        while records:
            yield Send(records.pop(0).value)

    assert [o.value for o in Bench(handler, batch=True).run(b"a", b"b")] == [b"a", b"b"]


# --- plain tier: the whole batch may have had its effect -----------------------------------------


def plain_bench(in_doubt: str, *, had: int = -1, **step: Any) -> tuple[Bench, list[Seen]]:
    """Make a handler of lists that fails on more than one record, and note what it sees."""
    seen: list[Seen] = []

    def handler(records: list[Record]) -> list[None]:
        seen.append([(record.offset, record.in_doubt) for record in records])
        if len(records) > 1:
            raise ConnectionRefusedError
        return [None] * len(records)

    settings = replace(SETTINGS, in_doubt=in_doubt, reconcile=lambda r: r.offset == had)
    return Bench(handler, to=None, batch=True, plain=True, settings=settings, **step), seen


def test_a_plain_batch_is_marked_as_begun_as_a_whole() -> None:
    bench, _ = plain_bench("retry")
    bench.once(b"a")
    bench.once(b"b", b"c", start=1)
    assert [mark.offset for mark in bench.ledger.marks] == [1, 3]


def test_what_a_plain_batch_that_failed_has_left_is_in_doubt() -> None:
    bench, seen = plain_bench("retry")
    bench.run(b"a", b"b")
    assert seen == [[(0, False), (1, False)], [(0, True)], [(1, True)]]
    assert bench.letters() == []


def test_a_function_can_say_what_of_a_plain_batch_had_its_effect() -> None:
    bench, seen = plain_bench("reconcile", had=0)
    bench.run(b"a", b"b")
    assert seen[1:] == [[(1, True)]]


def test_a_plain_batch_that_may_happen_once_at_most_is_not_tried_again() -> None:
    bench, seen = plain_bench("skip")
    bench.run(b"a", b"b")
    assert len(seen) == 1
    assert bench.letters() == ["handler_failed"] * 2


def test_a_plain_batch_that_had_no_effect_is_tried_record_by_record() -> None:
    bench, seen = plain_bench("skip", retry_on=(ConnectionError,))
    bench.run(b"a", b"b")
    assert seen[1:] == [[(0, False)], [(1, False)]]
    assert bench.letters() == []
