"""Runs histories of the random model.

python -m tests.simulation.model --seed 7 --without floor           # tells one as a story
python -m tests.simulation.model --histories 100000 --without floor  # counts those that break
"""

import argparse
import sys
import time

from tests.simulation.check import broken_promises
from tests.simulation.switches import NAMES, Switches
from tests.simulation.world import World


def violations(seed: int, on: Switches, story: list[str] | None = None) -> list[str]:
    """Run one history, and say what it broke."""
    world = World(seed, on, story)
    world.run()
    if not world.done():
        return [*world.violations, "stuck: not all records are settled"]
    return [*world.violations, *broken_promises(world.kafka)]


def tell(seed: int, on: Switches) -> str:
    """Tell one history as a numbered story, with the violations at its end."""
    story: list[str] = []
    broken = violations(seed, on, story)
    lines = [f"{number:4}. {line}" for number, line in enumerate(story, 1)]
    return "\n".join([*lines, *(f"   => {line}" for line in broken or ["nothing is broken"])])


def main() -> None:
    """Tell one history, or count many."""
    parser = argparse.ArgumentParser(description="Runs histories of the random model.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--histories", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=[], choices=NAMES)
    given = parser.parse_args()
    on = Switches().without(*given.without)
    if given.histories == 1:
        sys.stdout.write(tell(given.seed, on) + "\n")
        return
    began = time.perf_counter()
    seeds = range(given.seed, given.seed + given.histories)
    broken = {seed: found for seed in seeds if (found := violations(seed, on))}
    seconds = time.perf_counter() - began
    for seed, found in list(broken.items())[:5]:
        sys.stdout.write(f"seed {seed}: {'; '.join(found)}\n")
    share = 100 * len(broken) / len(seeds)
    sys.stdout.write(f"{len(broken)} of {len(seeds)} broke, {share:.3f} %, {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
