"""The plain tier's random model holds with every ingredient, and breaks without those of weight.

`EOS_HISTORIES` says how many histories the whole design must survive, shared out among the
policies (default 1,500). `EOS_SEED` says where their seeds begin (default: anywhere); it is
printed. `python -m tests.simulation.plain.model --policy skip --seed N --without hearsay` tells
one history as a story, and with `--histories 100000` it counts.

What the tier promises here, by policy, for each key (or position without one):

- `retry`: it has its effect; each but the first is flagged. `dead_letter`: it has its effect or
  is a dead letter, and never a second effect. `skip`: no second effect; at most one record is
  lost by a crash, a handler that raised or a mark that got no answer; after a ledger loss,
  whatever is in doubt. `reconcile`, with a function that tells the truth: exactly one.
- Except, first: what the ledger let pass before its partition was taken over (with `retry` the
  batch that was claimed, else the one record that was marked) may be handled by a zombie: that
  is what the older fencing token is for. After a ledger loss a zombie may also claim, until the
  ledger hears of the newer epoch. What such a handler still has in hand no `reconcile` can see.
- Except, second: what was claimed before a ledger loss may be handled, unflagged, after a copy
  of it was handed out in doubt.
- Except, third: what the user announced to be handled again.

Left out alone, `settle-seal`, `settle-epoch`, `begin-seal` and `claim-epoch` break nothing: what
was handled was handled under any seal, and marks tell of what a zombie claimed. They are belts
beside the braces. `open-at-floor` costs a reading of what is then SETTLED. Without `own-marks`
more is flagged than need be.
"""

import os
import random
import sys

import pytest

from tests.simulation.plain.model import POLICIES, tell, violations
from tests.simulation.plain.switches import Switches
from tests.simulation.plain.world import World

HISTORIES = int(os.environ.get("EOS_HISTORIES", "1500"))
SEED = int(os.environ.get("EOS_SEED", str(random.SystemRandom().randrange(10**9))))

# A variant that is broken shows it within so many histories, from a fixed seed on.
ENOUGH = 400

FEW = ["losses", "late-packets", "lost-answers", "rewinds", "appends"]

BROKEN = [
    ("retry", "duplicate", ["begun-mark"], 0),
    ("skip", "duplicate", ["begun-mark"], 0),
    ("skip", "loss", ["record-marks"], 0),
    ("skip", "duplicate", ["begin-epoch"], 0),
    ("reconcile", "duplicate", ["asked-late"], 0),
    ("retry", "early", ["settled-first"], 0),
    ("reconcile", "loss", ["settled-first"], 0),
    ("retry", "duplicate", ["committed-beginning"], 0),
    ("skip", "loss", ["open-before-beginning"], 0),
    ("retry", "duplicate", ["begun-to-end"], 0),
    ("retry", "duplicate", ["owners-to-end"], 0),
    ("retry", "loss", ["hearsay"], 300),
    ("retry", "duplicate", ["all-partitions"], 0),
    # The rarest, from where they break.
    ("retry", "duplicate", ["marks-of-epoch", *FEW], 2300),
    ("retry", "duplicate", ["marks-of-epoch", "marks-of-seal"], 5200),
    ("dead_letter", "loss", ["hearsay-to-end", "rewinds"], 8500),
]

BELTS = ["settle-seal", "settle-epoch", "begin-seal", "claim-epoch", "open-at-floor", "own-marks"]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("policy", POLICIES)
def test_no_history_breaks_what_the_policy_promises(
    policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    histories = HISTORIES // len(POLICIES)
    with capsys.disabled():
        sys.stdout.write(f"\n{histories} histories of {policy} from seed {SEED} ")
    for seed in range(SEED, SEED + histories):
        if violations(seed, policy, Switches()):
            pytest.fail(f"seed {seed}, {policy}:\n{tell(seed, policy, Switches())}")


@pytest.mark.parametrize(
    ("policy", "broken", "ingredients", "begin"),
    BROKEN,
    ids=[f"{policy} {broken}: {' '.join(names)}" for policy, broken, names, _ in BROKEN],
)
def test_without_it_a_promise_breaks(
    policy: str, broken: str, ingredients: list[str], begin: int
) -> None:
    on = Switches().without(*ingredients)
    assert any(
        found.startswith(broken)
        for seed in range(begin, begin + ENOUGH)
        for found in violations(seed, policy, on)
    ), "it carries no weight"


@pytest.mark.parametrize("belt", BELTS)
def test_without_a_belt_the_braces_hold(belt: str) -> None:
    on = Switches().without(belt)
    for policy in ("retry", "skip"):
        assert not [seed for seed in range(60) if violations(seed, policy, on)]


def test_a_process_that_forgets_its_own_marks_flags_more() -> None:
    assert flagged(Switches().without("losses", "own-marks")) > flagged(
        Switches().without("losses")
    )


def test_a_seed_always_tells_the_same_story() -> None:
    on = Switches().without("hearsay")
    assert tell(3, "retry", on) == tell(3, "retry", on)


def flagged(on: Switches) -> int:
    """Count what is handed out in doubt in some histories."""
    count = 0
    for seed in range(100):
        world = World(seed, "retry", on)
        world.run()
        count += sum(effect.in_doubt for effect in world.effects)
    return count
