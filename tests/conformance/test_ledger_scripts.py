import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from eos.stores.redis import scripts
from eos.testing.ledger_suite import Rig
from tests.conformance import (
    mutants,
    mutants_gaps,
    mutants_plain,
    mutants_rebuilt,
    mutants_redriven,
)
from tests.conformance.differential import compare, histories, rebuilt_histories
from tests.conformance.history import Call
from tests.conformance.mutants import Mutant, crowded, wound
from tests.conformance.rigs import RedisRig, SqliteRig, SqlRig

# From which seed the hunt is short, for the wounds that are found late from seed 1 on.
SHORT_FROM = {
    "confirm does not ask which server": 2,
    "frontier times fall": 2,
    "settle asks for no seal": 4,
    "settle does not ask which server": 4,
    "settle writes until one is fenced": 2,
    "of two marks of one partition the last one counts": 3,
    "rewind leaves what has begun": 4,
    "under a seal that stands hearsay falls": 4,
    "hearsay is up to the mark": 3,
    "hearsay survives a new seal": 3,
    "hearsay goes with every opening": 3,
}
ONCE: dict[str, Any] = {"phases": [Phase.generate], "report_multiple_bugs": False}
SEED = int(os.environ.get("EOS_SEED", random.randrange(2**32)))

lenient = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def property_on(
    rig: Rig,
    number: int,
    examples: int,
    calls: SearchStrategy[list[Call]] = histories,
    **more: object,
) -> Callable[[], None]:
    @seed(number)
    @settings(lenient, max_examples=examples, **more)  # type: ignore[arg-type]
    @given(history=calls)
    def alike(history: list[Call]) -> None:
        compare(history, rig)

    return alike


@pytest.fixture(autouse=True)
def crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLAIM", "REASSERT", "ADVANCE"):
        monkeypatch.setattr(scripts, name, crowded(getattr(scripts, name)))


def test_the_scripts_answer_as_the_rules_do(redis_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(RedisRig(redis_url), SEED, 150)()
    property_on(RedisRig(redis_url), SEED, 150, rebuilt_histories)()


def test_sqlite_answers_as_the_rules_do(tmp_path: Path) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(SqliteRig(tmp_path / "ledger.db"), SEED, 100)()
    property_on(SqliteRig(tmp_path / "ledger.db"), SEED, 100, rebuilt_histories)()


def test_postgresql_answers_as_the_rules_do(ledger_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(SqlRig(ledger_url), SEED, 100)()
    property_on(SqlRig(ledger_url), SEED, 100, rebuilt_histories)()


@pytest.mark.parametrize(
    "mutant",
    [*mutants.MUTANTS, *mutants_plain.MUTANTS, *mutants_redriven.MUTANTS, *mutants_gaps.MUTANTS],
    ids=lambda m: m.claim,
)
def test_the_comparison_notices(
    mutant: Mutant, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, mutant.script, wound(mutant))
    first, rig = SHORT_FROM.get(mutant.claim, 1), RedisRig(redis_url)

    def hunt() -> None:
        # What a seed gives depends on the modules that are loaded, whose constants are tried, too.
        for number in range(first, first + 5):
            property_on(rig, number, 800, **ONCE)()

    with pytest.raises(AssertionError):
        hunt()


@pytest.mark.parametrize("mutant", mutants_rebuilt.MUTANTS, ids=lambda m: m.claim)
def test_the_comparison_notices_what_is_put_back(
    mutant: Mutant, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, mutant.script, wound(mutant))

    def hunt() -> None:
        for number in range(1, 6):
            property_on(RedisRig(redis_url), number, 400, rebuilt_histories, **ONCE)()

    with pytest.raises(AssertionError):
        hunt()
