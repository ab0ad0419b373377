"""Small wounds in the scripts' source. The differential test must notice each of them."""

from typing import NamedTuple

from eos.stores.redis import scripts


class Mutant(NamedTuple):
    claim: str
    script: str
    old: str
    new: str


MUTANTS = (
    Mutant("a stale epoch is admitted", "CLAIM", "if p.epoch < p.newest then", "if false then"),
    Mutant("a gap of one is admitted", "CLAIM", "p.start > p.claimed", "p.start > p.claimed + 1"),
    Mutant("a seal of another server will do", "CLAIM", "begins(seal, identity())", "seal"),
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
        "an epoch that is heard of is not remembered", "CLAIM", "max(p.newest, p.epoch)", "p.newest"
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
    Mutant("a split moves the wrong half", "CLAIM", "% (top * 2) == new", "% (top * 2) ~= new"),
    Mutant(
        "the newest bucket is never asked",
        "CLAIM",
        "if i >= generation.buckets then",
        "if i >= generation.buckets - 1 then",
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
        "epoch = max(epoch + 1, now_us)",
        "epoch = max(epoch, 1)",
    ),
    Mutant("confirm asks for any seal", "CONFIRM", "seal == ARGV[1] and", ""),
    Mutant("confirm does not ask which server", "CONFIRM", "and begins(seal, identity())", ""),
    Mutant("everybody gets the lock", "LOCK", "return false", "stamp = '0.0'"),
    Mutant(
        "the lock is not looked at", "OPEN", "call('GET', lock) == stamp .. '/' .. token", "true"
    ),
    Mutant(
        "the server is not looked at",
        "REASSERT",
        "return begins(recovery, identity()) and",
        "return",
    ),
    Mutant(
        "opening always makes a new seal",
        "OPEN",
        "if not begins(recall('seal'), identity()) then",
        "if true then",
    ),
    Mutant("opening lowers the floor", "OPEN", "max(settled_below, frontier)", "frontier"),
    Mutant("putting back does not count as claimed", "REASSERT", "max(claimed, stop)", "claimed"),
    Mutant(
        "putting back replaces owners",
        "REASSERT",
        "if call('HSETNX', name, digest, value) == 0 then",
        "if call('HSET', name, digest, value) == 0 then",
    ),
    Mutant("what is put back counts as of now", "REASSERT", "log_time(stamp, first, now)", "now"),
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
        "lowest = min(lowest, passed)",
        "lowest = max(lowest == math.huge and 0 or lowest, passed)",
    ),
    Mutant("frontier times fall", "ADVANCE", "log_time(told, passed, now)", "told"),
    Mutant(
        "what is gone is filed under again",
        "ADVANCE",
        "max(last, passed), passed)",
        "last, passed)",
    ),
)


def wound(mutant: Mutant) -> scripts.Script:
    """Give the script with this wound; the replacement must apply, in one place only."""
    healthy: scripts.Script = getattr(scripts, mutant.script)
    assert healthy.source.count(mutant.old) == 1, f"{mutant.claim}: {mutant.old!r}"
    source = healthy.source.replace(mutant.old, mutant.new)
    return scripts.of(source)
