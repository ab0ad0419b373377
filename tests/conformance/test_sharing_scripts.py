"""Workers that recover a shard together get the same answers from each ledger."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, given, seed, settings

from eos.stores.redis import scripts
from eos.testing.ledger_suite import Rig
from tests.conformance.differential import compare, shared_histories
from tests.conformance.history import Call
from tests.conformance.mutants import Mutant, wound
from tests.conformance.mutants_sharing import MUTANTS
from tests.conformance.rigs import RedisRig, SqliteRig, SqlRig
from tests.conformance.test_ledger_scripts import SEED, lenient


def property_on(rig: Rig, number: int, examples: int, **more: object) -> Callable[[], None]:
    @seed(number)
    @settings(lenient, max_examples=examples, **more)  # type: ignore[arg-type]
    @given(history=shared_histories)
    def alike(history: list[Call]) -> None:
        compare(history, rig)

    return alike


def test_the_scripts_answer_as_the_rules_do(redis_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(RedisRig(redis_url), SEED, 100)()


def test_sqlite_answers_as_the_rules_do(tmp_path: Path) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(SqliteRig(tmp_path / "ledger.db"), SEED, 50)()


def test_postgresql_answers_as_the_rules_do(ledger_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(SqlRig(ledger_url), SEED, 50)()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.claim)
def test_the_comparison_notices(
    mutant: Mutant, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, mutant.script, wound(mutant))
    rig, once = RedisRig(redis_url), {"report_multiple_bugs": False}

    def hunt() -> None:
        for number in range(1, 6):
            property_on(rig, number, 400, phases=[Phase.generate], **once)()

    with pytest.raises(AssertionError):
        hunt()
