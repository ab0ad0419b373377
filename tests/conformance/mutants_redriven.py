"""Small wounds in what the scripts do with dead letters that are published again."""

from tests.conformance.mutants import Mutant

_MOVES = "position == redriven[n]"
_RECOVERED = "position == redriven[n]"
_LEAVES = "g.owners = g.owners - call('HDEL', bucket(g, hash), digest)"

MUTANTS = (
    Mutant("a redrive moves nothing", "CLAIM", _MOVES, "false"),
    Mutant("a redrive moves any owner", "CLAIM", _MOVES, "redriven[n]"),
    Mutant("a redrive moves the key of its neighbour", "CLAIM", _MOVES, _MOVES[:-1] + " + 1]"),
    Mutant("a letter keeps its key, too", "CLAIM", _LEAVES, ""),
    Mutant(
        "a key that moved is not counted",
        "CLAIM",
        "generation.owners = generation.owners + call('HSET'",
        "generation.owners = generation.owners + 0 * call('HSET'",
    ),
    Mutant("recovery does not look at redrives", "REASSERT", _RECOVERED, "false"),
    Mutant("in recovery a redrive moves any owner", "REASSERT", _RECOVERED, "redriven[n]"),
)
