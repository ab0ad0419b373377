"""A handler that raises: another try, a dead letter, or the end."""

from dataclasses import replace
from typing import Any

import pytest

from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Retried
from eos.core.record import Record
from eos.core.settings import Settings
from tests.unit.handling import SETTINGS, Bench, fails_on, record


def test_what_stands_before_a_record_that_failed_is_settled_and_the_rest_is_given_back() -> None:
    bench = Bench(fails_on(b"poison"))
    handled = bench.once(b"a", b"poison", b"b", b"c")
    assert [o.value for o in handled.outputs] == [b"a"]
    assert (handled.slice.start, handled.slice.end, handled.slice.read) == (0, 1, 1)
    assert handled.slice.attempts == 1
    assert [e.given_back for e in bench.events if isinstance(e, Retried)] == [3]


def test_tries_are_counted_where_nothing_stands_before_the_record() -> None:
    handled = Bench(fails_on(b"poison")).once(b"poison", b"a", attempts={0: 1})
    assert (handled.slice.end, handled.slice.read, handled.slice.attempts) == (0, 0, 2)


def test_tries_of_a_predecessor_count() -> None:
    bench = Bench(fails_on(b"poison"))
    handled = bench.once(b"poison", attempts={0: 2})
    assert [letter.reason for letter in handled.letters] == ["handler_failed"]
    assert (bench.held, handled.slice.attempts) == ([], 0)


def test_a_record_behind_one_that_failed_becomes_no_dead_letter_before_its_turn() -> None:
    bench = Bench(fails_on(b"poison"))
    later = record(1, b"conflict")
    handled = bench.once(b"poison", b"conflict", rejected=[(later, "conflict")])
    assert (handled.outputs, handled.letters) == ([], [])


class NotFound(Exception):  # noqa: N818 the user's own
    pass


def test_an_exception_that_is_not_worth_another_try_is_a_dead_letter_at_once() -> None:
    def handler(_record: Record) -> None:
        raise NotFound

    bench = Bench(handler, retry_on=(ConnectionError,))
    bench.run(b"v")
    assert (bench.letters(), bench.held) == (["not_retryable"], [])


def test_an_exception_that_is_worth_another_try_gets_it_with_all_its_kinds() -> None:
    def handler(_record: Record) -> None:
        raise ConnectionResetError

    bench = Bench(handler, retry_on=(ConnectionError,))
    bench.run(b"v")
    assert (bench.letters(), len(bench.held)) == (["handler_failed"], 2)


@pytest.mark.parametrize("batch", [False, True])
def test_an_exception_that_was_named_fatal_stops_the_line(*, batch: bool) -> None:
    def handler(_given: Any) -> None:
        raise NotFound

    with pytest.raises(NotFound):
        Bench(handler, batch=batch, fatal=(NotFound,)).run(b"v")


# --- plain tier ----------------------------------------------------------------------------


def marks(bench: Bench) -> list[int]:
    assert {(mark.partition, mark.epoch) for mark in bench.ledger.marks} <= {(0, 7)}
    return [mark.offset for mark in bench.ledger.marks]


def test_each_record_is_marked_as_begun_before_the_handler_sees_it() -> None:
    seen: list[tuple[int, list[int]]] = []
    bench = Bench(lambda r: seen.append((r.offset, marks(bench))), to=None, plain=True)
    bench.once(b"a", b"b")
    assert seen == [(0, [1]), (1, [1, 2])]
    assert (bench.lane.begun, bench.lane.marked) == (2, 2)


def test_what_the_claim_has_marked_already_is_not_marked_again() -> None:
    bench = Bench(lambda _: None, to=None, plain=True)
    bench.lane.marked = 2
    bench.once(b"a", b"b", b"c")
    assert marks(bench) == [3]
    assert bench.lane.begun == 3


def test_nothing_is_marked_where_effect_and_offset_are_one() -> None:
    bench = Bench(lambda _: None)
    bench.once(b"a")
    assert marks(bench) == []


def test_nothing_begins_under_a_seal_that_is_broken() -> None:
    bench = Bench(lambda _: pytest.fail("it began"), to=None, plain=True)
    bench.ledger.sealed = False
    with pytest.raises(AbortableError) as caught:
        bench.once(b"a")
    assert caught.value.cause == "ledger_mark"
    assert bench.lane.begun == 0


def test_a_mark_whose_answer_is_lost_is_our_own_and_the_record_did_not_begin() -> None:
    bench = Bench(lambda _: pytest.fail("it began"), to=None, plain=True)
    bench.ledger.away = True
    with pytest.raises(RetriableError):
        bench.once(b"a")
    assert (bench.lane.marked, bench.lane.begun) == (1, 0)


def test_what_was_tried_in_vain_may_have_had_its_effect() -> None:
    bench = Bench(fails_on(b"poison"), to=None, plain=True)
    bench.once(b"a", b"poison", b"b")
    assert bench.lane.begun == 2  # the record at 1 comes back in doubt, that at 2 does not


def away(_given: Any) -> None:
    raise RetriableError("the shop is closed")


def test_what_is_away_is_waited_for_and_no_try_is_counted() -> None:
    bench = Bench(away)
    handled = [bench.once(b"v", attempts={0: 1}) for _ in range(20)]
    assert [each.slice.attempts for each in handled] == [1] * 20
    assert {held.attempts for held in bench.held} == {1}
    assert bench.letters() == []
    pauses = [held.seconds for held in bench.held]
    assert pauses[0] < pauses[2] < pauses[4]
    assert max(pauses) < 40


def test_another_record_that_waits_begins_with_a_short_pause() -> None:
    bench = Bench(away)
    for _ in range(5):
        bench.once(b"v")
    bench.once(b"v", start=1)
    assert bench.held[-1].seconds < bench.held[2].seconds


def test_a_handler_that_spoils_its_record_spoils_no_dead_letter() -> None:
    def handler(each: Record) -> None:
        each.value = {"parsed": True}  # type: ignore[assignment]
        raise ValueError("no")

    bench = Bench(handler, retry_on=())
    (letter,) = bench.run(b"as it came")
    assert letter.value == b"as it came"


# --- plain tier: what failed may have had its effect ---------------------------------------------


def policy(in_doubt: str) -> Settings:
    return replace(SETTINGS, in_doubt=in_doubt, reconcile=lambda _: False)


def refused(_given: Any) -> None:
    raise ConnectionRefusedError


@pytest.mark.parametrize("in_doubt", ["retry", "reconcile"])
def test_what_may_be_repeated_is_tried_again_in_doubt(in_doubt: str) -> None:
    bench = Bench(refused, to=None, plain=True, settings=policy(in_doubt))
    bench.once(b"v")
    assert [held.offset for held in bench.held] == [0]
    assert bench.lane.begun == 1
    assert bench.ledger.rewound == []


@pytest.mark.parametrize("in_doubt", ["skip", "dead_letter"])
def test_what_may_happen_once_at_most_is_not_tried_again(in_doubt: str) -> None:
    bench = Bench(refused, to=None, plain=True, settings=policy(in_doubt))
    bench.run(b"a", b"b")
    assert (bench.letters(), bench.held) == (["handler_failed"] * 2, [])


@pytest.mark.parametrize("in_doubt", ["skip", "dead_letter"])
@pytest.mark.parametrize("handler", [refused, away])
def test_an_exception_that_means_no_effect_is_tried_again_and_the_record_did_not_begin(
    in_doubt: str, handler: Any
) -> None:
    bench = Bench(
        handler, to=None, plain=True, settings=policy(in_doubt), retry_on=(ConnectionError,)
    )
    bench.lane.begun = bench.lane.marked = 4
    bench.once(b"v", start=4)
    assert [held.offset for held in bench.held] == [4]
    # Neither we nor a successor will take it for one that may have had its effect.
    assert (bench.lane.begun, bench.lane.marked) == (4, 4)
    assert [mark.offset for mark in bench.ledger.rewound] == [4]


def test_the_policy_for_plain_effects_is_none_of_a_transaction_s_business() -> None:
    bench = Bench(refused, settings=policy("skip"))
    bench.run(b"v")
    assert (bench.letters(), len(bench.held)) == (["handler_failed"], 2)


def asking(had: set[int]) -> tuple[Settings, list[int]]:
    asked: list[int] = []

    def reconcile(each: Record) -> bool:
        asked.append(each.offset)
        return each.offset in had

    return replace(SETTINGS, in_doubt="reconcile", reconcile=reconcile), asked


@pytest.mark.parametrize("batch", [False, True])
def test_a_function_is_asked_about_what_is_in_doubt_and_what_had_its_effect_is_left_out(
    *, batch: bool
) -> None:
    settings, asked = asking({1})
    seen: list[int] = []

    def handler(given: Any) -> Any:
        records = given if batch else [given]
        seen.extend(each.offset for each in records)
        return [None] * len(records) if batch else None

    bench = Bench(handler, to=None, batch=batch, plain=True, settings=settings)
    handled = bench.once(b"a", b"b", b"c", b"d", doubt={1, 2})
    assert (asked, seen) == ([1, 2], [0, 2, 3])
    assert (handled.slice.end, handled.slice.read) == (4, 4)


def test_the_function_is_asked_about_a_record_when_its_turn_has_come() -> None:
    # Of two copies of a key that are both in doubt, neither had its effect; after the first has
    # been handled, the second has.
    done: set[bytes] = set()
    settings = replace(SETTINGS, in_doubt="reconcile", reconcile=lambda r: r.value in done)
    effects: list[bytes] = []

    def handler(each: Record) -> None:
        effects.append(each.value or b"")
        done.add(each.value or b"")

    Bench(handler, to=None, plain=True, settings=settings).once(b"a", b"a", doubt={0, 1})
    assert effects == [b"a"]


def test_a_function_that_cannot_say_is_asked_again_later_and_no_try_is_counted() -> None:
    def unreachable(_record: Record) -> bool:
        raise ConnectionError("no database")

    settings = replace(SETTINGS, in_doubt="reconcile", reconcile=unreachable)
    bench = Bench(lambda _: None, to=None, plain=True, settings=settings)
    handled = bench.once(b"a", b"b", doubt={1})
    assert (handled.slice.end, handled.slice.attempts) == (1, 0)
    assert [held.offset for held in bench.held] == [1]
    (retried,) = [event for event in bench.events if isinstance(event, Retried)]
    assert "no database" in retried.detail


def test_the_function_gets_the_value_that_the_handler_gets() -> None:
    settings = replace(SETTINGS, in_doubt="reconcile", reconcile=lambda r: str(r.value) == "7")
    bench = Bench(
        lambda _: pytest.fail("called"), to=None, plain=True, settings=settings, decode=int
    )
    bench.once(b"7", doubt={0})
