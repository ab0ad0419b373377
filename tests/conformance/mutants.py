"""Small wounds in the scripts' source. The differential test must notice each of them."""

from typing import NamedTuple

from eos.stores.redis import scripts


class Mutant(NamedTuple):
    claim: str
    script: str
    old: str
    new: str


MUTANTS = (
    Mutant("a stale epoch is admitted", "CLAIM", "if p.told < p.epoch then", "if false then"),
    Mutant("a gap of one is admitted", "CLAIM", "p.start > p.claimed", "p.start > p.claimed + 1"),
    Mutant(
        "a seal of another server will do",
        "CLAIM",
        "if not begins(seal, identity()) then",
        "if not seal then",
    ),
    Mutant("the floor is forgotten", "CLAIM", "max(p.floor, p.frontier)", "p.frontier"),
    Mutant("the frontier itself is settled", "CLAIM", "< settled_below", "<= settled_below"),
    Mutant(
        "only the offset names the owner",
        "CLAIM",
        "sub(owner, 1, 8)",
        "sub(value, 1, 2) .. sub(owner, 3, 8)",
    ),
    Mutant(
        "the payload does not matter",
        "CLAIM",
        "and DUPLICATE or CONFLICT",
        "and DUPLICATE or DUPLICATE",
    ),
    Mutant("claimed falls", "CLAIM", "max(p.claimed, p.stop)", "p.stop"),
    Mutant(
        "an epoch that is heard of is not remembered", "CLAIM", "max(p.epoch, p.told)", "p.epoch"
    ),
    Mutant(
        "a batch is filed one generation early",
        "CLAIM",
        "(floor(last / length) + 1)",
        "floor(last / length)",
    ),
    Mutant(
        "a stamp is not clamped from below",
        "CLAIM",
        "log_time(stamp, p.last, now)",
        "min(stamp, now)",
    ),
    Mutant(
        "older generations are not asked",
        "CLAIM",
        "if g ~= generation and g.owners > 0 then",
        "if false then",
    ),
    Mutant(
        "a split moves owners to the wrong bucket",
        "CLAIM",
        "first + i * base",
        "first + (4 - i) * base",
    ),
    Mutant(
        "a split leaves a part behind",
        "CLAIM",
        "for i, part in ipairs(parts) do",
        "parts[3] = {} for i, part in ipairs(parts) do",
    ),
    Mutant(
        "the bucket split last is asked as before",
        "CLAIM",
        "if i < generation.split then",
        "if i < generation.split - 1 then",
    ),
    Mutant(
        "a copy takes the key over",
        "CLAIM",
        "if call('HSETNX', name, digest, value) == 0 then",
        "if call('HSET', name, digest, value) == 0 then",
    ),
    Mutant(
        "an epoch is given out twice",
        "TAKE",
        "max(p.epoch + 1, now_us)",
        "max(p.epoch, 1)",
    ),
    Mutant("confirm asks for any seal", "CONFIRM", "recall('seal') == seal and", ""),
    Mutant(
        "confirm does not ask which server",
        "CONFIRM",
        "== seal and begins(seal, identity())",
        "== seal",
    ),
    Mutant(
        "everybody gets the lock",
        "LOCK",
        "other ~= token then\n    return false",
        "other ~= token then\n    other = nil",
    ),
    Mutant(
        "the server is not looked at",
        "REASSERT",
        "return begins(here.of, identity()) and here or {}",
        "return here",
    ),
    Mutant(
        "opening always makes a new seal",
        "OPEN",
        "local sealed = begins(seal, identity())",
        "local sealed = false",
    ),
    Mutant("opening lowers the floor", "OPEN", "max(p.floor, frontier)", "frontier"),
    Mutant(
        "putting back does not count as claimed", "REASSERT", "max(p.claimed, stop)", "p.claimed"
    ),
    Mutant(
        "putting back replaces owners",
        "REASSERT",
        "if call('HSETNX', name, digest, value) == 0 then",
        "if call('HSET', name, digest, value) == 0 then",
    ),
    Mutant("facts overrule nobody", "REASSERT", "settled and owner ~= value", "false"),
    Mutant("doubts overrule", "REASSERT", "settled and owner ~= value", "owner ~= value"),
    Mutant(
        "what was suppressed takes its owner with it",
        "REASSERT",
        "disown(all, digest, sub(value, 1, 8))",
        "disown(all, digest)",
    ),
    Mutant(
        "facts do not raise the floor",
        "REASSERT",
        "max(p.floor, tonumber(ARGV[8]))",
        "p.floor",
    ),
    Mutant("what is put back counts as of now", "REASSERT", "log_time(stamp, p.last, now)", "now"),
    Mutant(
        "the window is not waited for", "ADVANCE", "lowest >= g.ends + window", "lowest >= g.ends"
    ),
    Mutant(
        "the window is a second too long",
        "ADVANCE",
        "lowest >= g.ends + window",
        "lowest > g.ends + window",
    ),
    Mutant(
        "the fastest partition decides",
        "ADVANCE",
        "lowest = min(lowest, ",
        "lowest = max(lowest == math.huge and 0 or lowest, ",
    ),
    Mutant("frontier times fall", "ADVANCE", "log_time(told, p.passed, now)", "told"),
    Mutant(
        "what is gone is filed under again",
        "ADVANCE",
        "max(p.last, p.passed)",
        "p.last",
    ),
)


def wound(mutant: Mutant) -> scripts.Script:
    """Give the script with this wound; the replacement must apply, in one place only."""
    return _replaced(getattr(scripts, mutant.script), mutant.old, mutant.new)


def crowded(script: scripts.Script) -> scripts.Script:
    """Give the script with buckets so few and small that a few hundred owners split them."""
    return _with_load(script, "4, 1")


def of_one_bucket(script: scripts.Script) -> scripts.Script:
    """Give the script so that it begins with one bucket, as large as ever."""
    return _with_load(script, "20, 1")


def _with_load(script: scripts.Script, load: str) -> scripts.Script:
    if "FIRST" not in script.source:
        return script
    return _replaced(script, "LOAD, FIRST = 20, 4096", f"LOAD, FIRST = {load}")


def _replaced(script: scripts.Script, old: str, new: str) -> scripts.Script:
    assert script.source.count(old) == 1, old
    return scripts.of(script.source.replace(old, new))
