"""All that can go wrong at once, on three brokers and Redis: nothing is lost or comes twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eos.devstack import Stack
from tests.fault.chaos.checks import check, check_plain
from tests.fault.chaos.run import Chaos, Plan, three_brokers

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
    # Copies on another partition need the audit when the ledger is lost, which is not kept yet.
    plan = Plan(seconds=SECONDS, across=not loses_ledger, loses_ledger=loses_ledger)
    evidence = Chaos(plan, brokers, tmp_path).run()
    check(evidence)
    assert evidence.suppressed
    assert len(evidence.everything) > len(evidence.outputs), "nothing was aborted"


@pytest.mark.timeout(SECONDS + 900)
def test_effects_outside_of_kafka_are_not_lost_and_not_repeated_unflagged(
    brokers: Stack, tmp_path: Path
) -> None:
    evidence = Chaos(Plan(seconds=SECONDS, plain=True), brokers, tmp_path).run()
    check_plain(evidence)
