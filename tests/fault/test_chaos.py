"""All that can go wrong at once, on three brokers and Redis: nothing is lost or comes twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eos.devstack import Stack
from tests.fault.chaos.checks import check, check_plain
from tests.fault.chaos.run import ALL, Chaos, Plan, three_brokers

SECONDS = float(os.environ.get("EOS_CHAOS_SECONDS", "120"))


@pytest.fixture(scope="module")
def brokers() -> Iterator[Stack]:
    with three_brokers() as stack:
        yield stack


@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("loses_ledger", [False, True], ids=["ledger restarts", "ledger is lost"])
def test_nothing_is_lost_repeated_torn_or_out_of_order(
    brokers: Stack, tmp_path: Path, *, loses_ledger: bool
) -> None:
    plan = Plan(seconds=SECONDS, loses_ledger=loses_ledger)
    evidence = Chaos(plan, brokers, tmp_path).run()
    check(evidence)
    assert evidence.suppressed
    assert len(evidence.everything) > len(evidence.outputs), "nothing was aborted"


@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger restarts", "ledger stays"])
def test_effects_outside_of_kafka_are_not_lost_and_not_repeated_unflagged(
    brokers: Stack, tmp_path: Path, *, ledger: bool
) -> None:
    harms = tuple(kind for kind in ALL if ledger or kind != "ledger")
    evidence = Chaos(Plan(seconds=SECONDS, plain=True, harms=harms), brokers, tmp_path).run()
    check_plain(evidence)
    in_doubt = sum(effect.in_doubt for effect in evidence.effects)
    print(f"{in_doubt} of {len(evidence.effects)} effects were in doubt")  # noqa: T201
    if not ledger:
        # A ledger that is opened anew puts all that stands in the log in doubt; otherwise it is
        # only what workers held that were killed or stopped.
        assert 0 < in_doubt < len(evidence.effects) / 4
