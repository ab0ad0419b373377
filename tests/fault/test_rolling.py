"""All workers are replaced in turn while records come in: nobody notices."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from tests.fault.chaos.checks import check, check_plain
from tests.fault.chaos.crew import WORKERS
from tests.fault.chaos.run import Chaos, Plan, three_brokers
from tests.fault.chaos.watch import SAMPLE_SECONDS, longest_stall

ROUNDS = 2
SESSION = 6.0
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def brokers() -> Iterator[Stack]:
    with three_brokers() as stack:
        yield stack


def replace_all(chaos: Chaos) -> None:
    """Replace each worker in turn, twice; go on when its successor was given partitions."""

    for _ in range(ROUNDS):
        for slot in range(WORKERS):
            successor = chaos.crew.replace(slot)
            has_work = partial(chaos.is_assigned, successor)
            assert wait_until(has_work, seconds=PATIENCE_SECONDS), f"worker {slot} has no work"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("plain", [False, True], ids=["transaction", "plain"])
def test_a_rolling_replacement_of_all_workers_loses_and_repeats_nothing_and_never_stalls(
    brokers: Stack, tmp_path: Path, *, plain: bool
) -> None:
    chaos = Chaos(
        Plan(seconds=300.0, rate=100, plain=plain, harms=(), session=SESSION), brokers, tmp_path
    )
    evidence = chaos.run(replace_all)
    (check_plain if plain else check)(evidence)
    assert chaos.crew.killed == 0
    if plain:
        assert not any(effect.in_doubt for effect in evidence.effects)

    row, seconds = longest_stall(evidence.samples)
    print(f"longest stall: {row} samples without progress, {seconds:.1f} s")  # noqa: T201
    # A sample takes longer than the pause behind it, so this is more than two sessions.
    assert row <= 2 * SESSION / SAMPLE_SECONDS
