"""The chaos tells right from wrong: broken workers do not pass its checks."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eos.devstack import Stack
from tests.fault.chaos.checks import check
from tests.fault.chaos.run import SEED, Chaos, Plan, three_brokers
from tests.fault.chaos.worker import NEVER_TAINTS, Point

SECONDS = float(os.environ.get("EOS_CHAOS_SECONDS", "20"))
TRIES = 4
BEFORE_OFFSETS = Point("before", "transactions", "send_offsets")
LOST, TWICE = r"lost=\['id-", r"twice=\{'id-"


@pytest.fixture(scope="module")
def brokers() -> Iterator[Stack]:
    with three_brokers() as stack:
        yield stack


@pytest.mark.timeout(TRIES * 300)
@pytest.mark.parametrize(
    ("plan", "found"),
    [
        # The group's generation does not fence a zombie.
        (
            Plan(seconds=SECONDS, broken="unfenced", harms=("stops",), points=(BEFORE_OFFSETS,)),
            TWICE,
        ),
        # A late EndTxn hits the next transaction.
        (Plan(seconds=SECONDS, broken=NEVER_TAINTS, harms=("late commits",)), TWICE),
        # The ledger is lost behind the back of a worker that holds claims.
        (
            Plan(
                seconds=SECONDS,
                broken="no confirm",
                harms=("lost behind a back",),
                points=(BEFORE_OFFSETS,),
                session=6.0,
            ),
            TWICE,
        ),
        # The ledger remembers keys and not their owners.
        (Plan(seconds=SECONDS, broken="seen set", harms=("moves",)), LOST),
    ],
    ids=lambda value: value.broken if isinstance(value, Plan) else "",
)
def test_workers_that_are_broken_are_found_out(
    brokers: Stack, tmp_path: Path, plan: Plan, found: str
) -> None:
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        evidence = Chaos(replace(plan, seed=SEED + attempt, patience=30.0), brokers, folder).run()
        try:
            check(evidence)
        except AssertionError as error:
            print(f"found out: {str(error)[:500]}")  # noqa: T201
            if re.search(found, str(error)):
                return
    pytest.fail(f"{plan.broken}: no {found} in {TRIES} runs")
