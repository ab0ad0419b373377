"""What every ledger must do, one exercise per sentence of the rules.

Run them on a ledger of your own:

    import pytest
    from eos.testing.ledger_suite import EXERCISES

    @pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.__name__)
    def test_my_ledger(exercise):
        exercise(MyRig())

A rig makes the ledger, and does to it what a server may suffer (see `Rig`). An exercise that
fails raises an AssertionError that says which sentence was broken. A ledger that passes them
all is no proof of the rules; one that fails any of them loses or repeats records.
"""

from eos.testing.ledger_suite import (
    claims,
    gaps,
    hearsay,
    looking,
    plain,
    recovery,
    redriven,
    sharing,
    window,
)
from eos.testing.ledger_suite.desk import Exercise, Rig

EXERCISES: tuple[Exercise, ...] = (
    *claims.EXERCISES,
    *redriven.EXERCISES,
    *gaps.EXERCISES,
    *recovery.EXERCISES,
    *sharing.EXERCISES,
    *window.EXERCISES,
    *plain.EXERCISES,
    *hearsay.EXERCISES,
    *looking.EXERCISES,
)


def broken(rig: Rig) -> list[str]:
    """Run all exercises; give the names of those that failed."""
    failed = []
    for exercise in EXERCISES:
        try:
            exercise(rig)
        except AssertionError:
            failed.append(exercise.__name__)
    return failed


__all__ = ["EXERCISES", "Exercise", "Rig", "broken"]
