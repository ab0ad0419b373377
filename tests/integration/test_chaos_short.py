"""The chaos of `tests/fault` in its short form: all kinds of harm at once, for some seconds."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eos.devstack import Stack
from tests.fault.chaos.checks import check
from tests.fault.chaos.run import Chaos, Plan, three_brokers

SECONDS = float(os.environ.get("EOS_CHAOS_SECONDS", "15"))


@pytest.fixture(scope="module")
def brokers() -> Iterator[Stack]:
    with three_brokers() as stack:
        yield stack


@pytest.mark.timeout(SECONDS + 600)
def test_nothing_is_lost_repeated_torn_or_out_of_order_when_all_goes_wrong_at_once(
    brokers: Stack, tmp_path: Path
) -> None:
    check(Chaos(Plan(seconds=SECONDS), brokers, tmp_path).run())
