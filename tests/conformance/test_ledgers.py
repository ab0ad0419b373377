from pathlib import Path

import pytest

from eos.testing.ledger_suite import EXERCISES, Exercise
from tests.conformance.rigs import MemoryRig, RedisRig, SqliteRig, SqlRig

by_name = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.__name__)


@by_name
def test_the_memory_ledger(exercise: Exercise) -> None:
    exercise(MemoryRig())


@by_name
def test_the_redis_ledger(exercise: Exercise, redis_url: str) -> None:
    exercise(RedisRig(redis_url))


@by_name
def test_the_sqlite_ledger(exercise: Exercise, tmp_path: Path) -> None:
    exercise(SqliteRig(tmp_path / "ledger.db"))


@by_name
def test_the_postgresql_ledger(exercise: Exercise, ledger_url: str) -> None:
    exercise(SqlRig(ledger_url))
