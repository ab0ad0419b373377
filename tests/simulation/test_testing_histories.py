"""Random histories of an app on the test bench: many misfortunes, and what must hold after them."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import eos
from eos.core.ports import Claimed, Claims, Mark, Refused
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.stores.memory.ledger import MemoryLedger
from eos.testing import Run, run

POINTS = (
    *("handler", "claim", "take", "lock", "open", "confirm", "ledger.begin", "ledger.settle"),
    *("prepare", "begin", "produce", "send_offsets", "commit"),
    *("poll", "reader.commit", "reader.frontiers", "seek", "describe", "ends"),
)

sends = st.tuples(
    st.just("send"), st.integers(0, 5), st.integers(1, 3), st.sampled_from([0, 1, (0, 1), (1, 0)])
)
works = st.tuples(st.sampled_from(["run", "restart", "advance"]))


def troubles(*kinds: str) -> st.SearchStrategy[Any]:
    return st.tuples(
        st.sampled_from(kinds),
        st.sampled_from(["before", "after"]),
        st.sampled_from(POINTS),
        st.integers(1, 4),
    )


def histories(*kinds: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of(sends, works, troubles(*kinds)), max_size=20)


ALL = histories("crash", "stall", "rebalance", "lose_ledger", "disconnect")


def play(t: Run, history: list[Any]) -> set[bytes]:
    """Let it happen; give the ids that were sent."""
    ids = set()
    for act in history:
        match act:
            case ("send", number, copies, partition):
                ids.add(b"%d" % number)
                t.send("in", str(number), id=str(number), copies=copies, partition=partition)
            case ("advance",):
                t.clock.advance("1h")
            case ("run" | "restart" as what,):
                getattr(t, what)()
            case (what, when, point, call):
                getattr(t, what)(**{when: point}, call=call)
    t.run()
    t.stage.wires.drawn.clear()  # what never came about
    t.send("in", "last", partition=(0, 1), copies=2)
    return {*ids, b"last"}


def sends_each_once(
    history: list[Any], ledger: MemoryLedger | None = None, **given_settings: Any
) -> bool:
    app = eos.App(group="g", **given_settings)
    app.step("in", to="out")(lambda record: eos.Send(record.value))
    with run(app, partitions=2, ledger=ledger) as t:
        ids = play(t, history)
        return Counter(t.values("out")) == Counter(ids) and t.settled


def repeats_only_in_doubt(
    history: list[Any], ledger: MemoryLedger | None = None, **given_settings: Any
) -> bool:
    app = eos.App(group="g", **given_settings)
    app.step("in")(lambda _: None)
    with run(app, partitions=2, ledger=ledger) as t:
        ids = play(t, history)
        sure = Counter(record.value for record in t.handled if not record.in_doubt)
        all_of_them = {record.value for record in t.handled} == ids
        return all_of_them and max(sure.values()) == 1 and t.settled


@settings(max_examples=300, deadline=None)
@given(ALL, st.integers(1, 3), st.sampled_from([0, "1h"]))
def test_in_the_transaction_tier_each_event_is_sent_once_whatever_happens(
    history: list[Any], batch_records: int, commit_interval: Any
) -> None:
    assert sends_each_once(history, batch_records=batch_records, commit_interval=commit_interval)


@settings(max_examples=300, deadline=None)
@given(ALL, st.integers(1, 3), st.sampled_from([0, "1h"]))
def test_in_the_plain_tier_each_event_has_its_effect_and_again_only_in_doubt(
    history: list[Any], batch_records: int, commit_interval: Any
) -> None:
    assert repeats_only_in_doubt(
        history, batch_records=batch_records, commit_interval=commit_interval
    )


@settings(max_examples=300, deadline=None)
@given(
    histories("crash", "stall", "rebalance", "lose_ledger"),
    st.integers(1, 3),
    st.sampled_from(["skip", "dead_letter"]),
)
def test_an_effect_that_must_not_be_repeated_is_not_and_dead_letters_name_what_may_be_missing(
    history: list[Any], batch_records: int, policy: str
) -> None:
    effects: Counter[bytes] = Counter()
    app = eos.App(group="g", batch_records=batch_records, in_doubt=policy)
    app.step("in")(lambda record: effects.update([record.value]))
    with run(app, partitions=2) as t:
        ids = play(t, history)
        t.run()
        assert max(effects.values(), default=0) <= 1
        if policy == "dead_letter":
            assert effects.keys() | {letter.value for letter in t.dead_letters} == ids


@settings(max_examples=300, deadline=None)
@given(histories("crash", "rebalance", "lose_ledger"), st.integers(1, 3))
def test_who_can_tell_whether_an_effect_took_place_has_each_effect_once(
    history: list[Any], batch_records: int
) -> None:
    effects: Counter[bytes] = Counter()
    app = eos.App(
        group="g",
        batch_records=batch_records,
        in_doubt="reconcile",
        reconcile=lambda record: record.value in effects,
    )
    app.step("in")(lambda record: effects.update([record.value]))
    with run(app, partitions=2) as t:
        ids = play(t, history)
        t.run()
        assert effects == Counter(ids)


class Forgetful(MemoryLedger):
    """A ledger that knows nobody's key."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        for claims in batch:
            claims.digests = [b"" for _ in claims.digests]
        return super().claim(shard, batch)


class Markless(MemoryLedger):
    """A ledger that does not remember what may have begun."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        for claims in batch:
            claims.begun = 0
        return super().claim(shard, batch)

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:  # noqa: ARG002
        return True


class Credulous(MemoryLedger):
    """A ledger that suppresses what it has seen, whoever saw it and wherever it stands."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        answer = super().claim(shard, batch)
        if isinstance(answer, Claimed):
            lost: list[Verdict] = [
                v if v is not Verdict.AGAIN else Verdict.DUPLICATE for v in answer.verdicts
            ]
            return replace(answer, verdicts=lost)
        return answer


@pytest.mark.parametrize(
    ("holds", "ledger"),
    [
        (sends_each_once, Forgetful),
        (sends_each_once, Credulous),
        (repeats_only_in_doubt, Markless),
        (repeats_only_in_doubt, Credulous),
    ],
)
def test_random_histories_find_a_broken_ledger(
    holds: Callable[..., bool], ledger: type[MemoryLedger]
) -> None:
    # Any of them will do, not the shortest.
    bound = settings(max_examples=2000, deadline=None, derandomize=True, phases=[Phase.generate])

    def made() -> MemoryLedger:
        # Whoever is held up while it recovers is waited for: the time must go on, turn by turn.
        ticks = itertools.count(int(time.time()) * 100)
        return ledger(86400, clock=lambda: next(ticks) / 100)

    history = find(ALL, lambda history: not holds(history, made()), settings=bound)
    assert holds(history)


def test_every_crash_point_of_the_histories_exists() -> None:
    app = eos.App(group="g")
    app.step("in")(lambda _: None)
    with run(app) as t:
        for point in POINTS:
            t.crash(before=point)
        t.stage.wires.drawn.clear()
