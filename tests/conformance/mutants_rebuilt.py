"""Wounds that show where few keys are put back, and lie in gaps."""

from tests.conformance.mutants import Mutant

MUTANTS = (
    Mutant(
        "what was suppressed stays the owner",
        "REASSERT",
        "for place = 1, #ARGV[6], 24 do",
        "for place = 1, 0 do",
    ),
    Mutant("recovery leaves owners in gaps", "REASSERT", " or is_void(position)) then", ") then"),
    Mutant("one gap is remembered", "VOID", "insert(kept, sub(known, at, at + 23))", "kept = {}"),
)
