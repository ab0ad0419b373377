"""Small wounds in what the scripts do with positions at which nothing is delivered."""

from tests.conformance.mutants import Mutant

_CLAIMED = "or is_void(position) then"

MUTANTS = (
    Mutant("no owner is void", "CLAIM", _CLAIMED, "then"),
    Mutant("a gap has no end", "CLAIM", "start <= offset and offset < stop", "start <= offset"),
    Mutant("a gap has its end", "CLAIM", "and offset < stop then", "and offset <= stop then"),
    Mutant("a gap begins late", "CLAIM", "start <= offset and", "start < offset and"),
    Mutant("a gap is everywhere", "CLAIM", "'g' .. read('>I2', place)", "'g0'"),
    Mutant(
        "recovery puts no gaps back",
        "REASSERT",
        "add_gap(all, number, first, past, now, length)",
        "local _ = past",
    ),
    Mutant("a zombie voids", "VOID", "if epoch < p.epoch then", "if false then"),
    Mutant("a gap is not claimed", "VOID", "  p.claimed = stop", "  p.claimed = p.claimed"),
    Mutant("what is lacking is claimed", "VOID", "if start <= p.claimed and", "if"),
)
