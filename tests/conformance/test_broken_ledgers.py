import pytest

from eos.stores.memory.ledger import MemoryLedger
from eos.testing.ledger_suite import EXERCISES, broken
from tests.conformance import broken as broken_claims
from tests.conformance import (
    broken_gaps,
    broken_hearsay,
    broken_plain,
    broken_redriven,
    broken_sharing,
)
from tests.conformance.rigs import MemoryRig

CAUGHT_BY = {
    **broken_claims.CAUGHT_BY,
    **broken_plain.CAUGHT_BY,
    **broken_hearsay.CAUGHT_BY,
    **broken_redriven.CAUGHT_BY,
    **broken_gaps.CAUGHT_BY,
    **broken_sharing.CAUGHT_BY,
}


@pytest.mark.parametrize(
    ("fault", "exercise"), CAUGHT_BY.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_the_suite_rejects(fault: type[MemoryLedger], exercise: str) -> None:
    failed = broken(MemoryRig(fault))
    print(f"{fault.__name__} fails {len(failed)}: {', '.join(failed)}")  # noqa: T201 - for who reads a failure
    assert exercise in failed


def test_the_suite_passes_a_ledger_without_fault() -> None:
    assert broken(MemoryRig()) == []


def test_no_two_exercises_have_one_name() -> None:
    assert len({exercise.__name__ for exercise in EXERCISES}) == len(EXERCISES)
