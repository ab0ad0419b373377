"""Random histories of relays: what is written is published once and in order, or it is not proved.

`EOS_HISTORIES` says how many the whole design must survive, `EOS_SEED` where their seeds begin.
"""

import os
import random
import sys

import pytest

from tests.simulation.outbox.world import World

HISTORIES = int(os.environ.get("EOS_HISTORIES", "3000")) // 10
SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**9))))
ENOUGH = 3_000


def test_no_history_loses_repeats_or_reorders_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{HISTORIES} histories from seed {SEED} ")
    for seed in range(SEED, SEED + HISTORIES):
        assert not (wrong := World(seed).run()), f"seed {seed}: {wrong}"


@pytest.mark.parametrize("without", ["compare", "fencing", "position", "unsent"])
def test_each_protection_carries_weight(without: str) -> None:
    """That a relay stays stuck is no proof: messages must be wrong, or the two at odds."""
    assert any(_harm(World(seed, without).run()) for seed in range(ENOUGH))


def _harm(wrong: str) -> bool:
    return wrong.startswith(("written", "refused"))
