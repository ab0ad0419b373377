import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from eos.stores.redis import scripts
from tests.conformance import mutants, mutants_plain
from tests.conformance.differential import compare, histories
from tests.conformance.history import Call
from tests.conformance.mutants import Mutant, crowded, wound

SEED = int(os.environ.get("EOS_SEED", random.randrange(2**32)))

lenient = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def property_on(redis_url: str, number: int, examples: int, **more: object) -> Callable[[], None]:
    @seed(number)
    @settings(lenient, max_examples=examples, **more)  # type: ignore[arg-type]
    @given(history=histories)
    def alike(history: list[Call]) -> None:
        compare(history, redis_url)

    return alike


@pytest.fixture(autouse=True)
def crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLAIM", "REASSERT", "ADVANCE"):
        monkeypatch.setattr(scripts, name, crowded(getattr(scripts, name)))


def test_the_scripts_answer_as_the_rules_do(redis_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(redis_url, SEED, 150)()


@pytest.mark.parametrize(
    "mutant", [*mutants.MUTANTS, *mutants_plain.MUTANTS], ids=lambda m: m.claim
)
def test_the_comparison_notices(
    mutant: Mutant, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, mutant.script, wound(mutant))
    hunt = property_on(redis_url, 1, 800, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        hunt()
