"""Workers that recover a shard together get the same answers from each ledger."""

from pathlib import Path

import pytest

from eos.stores.redis import scripts
from tests.conformance.differential import shared_histories
from tests.conformance.mutants import Mutant, wound
from tests.conformance.mutants_sharing import MUTANTS
from tests.conformance.rigs import RedisRig, SqliteRig, SqlRig
from tests.conformance.test_ledger_scripts import ONCE, SEED, property_on


def test_the_scripts_answer_as_the_rules_do(redis_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(RedisRig(redis_url), SEED, 100, shared_histories)()


def test_sqlite_answers_as_the_rules_do(tmp_path: Path) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(SqliteRig(tmp_path / "ledger.db"), SEED, 50, shared_histories)()


def test_postgresql_answers_as_the_rules_do(ledger_url: str) -> None:
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    property_on(SqlRig(ledger_url), SEED, 50, shared_histories)()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.claim)
def test_the_comparison_notices(
    mutant: Mutant, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, mutant.script, wound(mutant))
    rig = RedisRig(redis_url)

    def hunt() -> None:
        for number in range(1, 6):
            property_on(rig, number, 400, shared_histories, **ONCE)()

    with pytest.raises(AssertionError):
        hunt()
