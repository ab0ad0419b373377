"""The plain tier on the test bench: doubt, policies, zombies."""

from collections.abc import Callable
from typing import Any

import pytest

import eos
from eos.testing import run


def app_of(handler: Callable[[Any], Any], **settings: Any) -> eos.App:
    app = eos.App(group="g", **settings)
    app.step("in")(handler)
    return app


def test_a_crash_between_effect_and_settle_repeats_the_record_in_doubt() -> None:
    effects: list[tuple[bytes | None, bool]] = []

    def handler(record: eos.Record) -> None:
        effects.append((record.value, record.in_doubt))

    with run(app_of(handler)) as t:
        t.send("in", "a")
        t.crash(after="handler")
        assert [record.value for record in t.in_doubt] == [b"a"]
        assert t.settled
    assert effects == [(b"a", False), (b"a", True)]


@pytest.mark.parametrize(("policy", "calls"), [("retry", 2), ("skip", 1), ("dead_letter", 1)])
def test_the_policy_says_what_becomes_of_a_record_in_doubt(policy: str, calls: int) -> None:
    with run(app_of(lambda _: None, in_doubt=policy)) as t:
        t.send("in", "a")
        t.crash(before="ledger.settle")
        assert len(t.handled) == calls
        assert [letter.reason for letter in t.dead_letters] == ["in_doubt"] * (
            policy == "dead_letter"
        )
        assert t.settled


def test_redelivery_in_the_plain_tier_comes_in_doubt() -> None:
    with run(app_of(lambda _: None)) as t:
        t.send("in", "a")
        t.redeliver()
        assert [record.in_doubt for record in t.handled] == [False, True]


def test_copies_are_suppressed_in_the_plain_tier_too() -> None:
    with run(app_of(lambda _: None)) as t:
        t.send("in", "a", copies=3)
        t.crash(after="ledger.settle")
        assert len(t.handled) == 1
        assert t.suppressed == 2


def test_a_zombies_effect_comes_late_and_carries_the_older_token() -> None:
    effects: list[int] = []
    with run(app_of(lambda record: effects.append(record.fencing_token))) as t:
        t.send("in", "a")
        t.stall(before="handler")
        assert t.settled
    overtaker, zombie = effects
    assert zombie < overtaker
