import pytest

from eos.testing.ledger_suite import EXERCISES, Exercise
from tests.conformance.rigs import MemoryRig, RedisRig

by_name = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.__name__)


@by_name
def test_the_memory_ledger(exercise: Exercise) -> None:
    exercise(MemoryRig())


@by_name
def test_the_redis_ledger(exercise: Exercise, redis_url: str) -> None:
    exercise(RedisRig(redis_url))
