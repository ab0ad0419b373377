"""The demo, again and again: ten seeds in a row, each a whole run under kills."""

import os
import random

import pytest

from eos.demo import Demo, Options

RUNS = int(os.environ.get("EOS_DEMO_RUNS", "10"))
FIRST_SEED = int(os.environ.get("EOS_DEMO_SEED", str(random.SystemRandom().randrange(10**6))))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RUNS))
def test_a_demo_under_kills_shows_no_duplicate_and_no_loss(seed: int) -> None:
    def say(text: str) -> None:
        print(text)  # noqa: T201 the seed and the kills, shown when it fails

    report = Demo(Options(seed=seed), say, lambda _progress: None).run()
    for row in report.rows():
        say(" | ".join(row))
    assert report.faults() == []
