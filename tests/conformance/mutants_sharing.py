"""Wounds in what the scripts do for workers that recover a shard together."""

from tests.conformance.mutants import Mutant

_ENDS = "tonumber(ends) > now and token or nil"

MUTANTS = (
    Mutant("a part is handed out twice", "LOCK", "(not other or other == token)", "true"),
    Mutant("what is done is handed out", "LOCK", "here[part] ~= DONE and", ""),
    Mutant("a lease has no end", "LOCK", _ENDS, "token"),
    Mutant(
        "the whole is shared", "LOCK", "(whole or part == 'whole') and other", "whole and other"
    ),
    Mutant(
        "parts are no obstacle to the whole",
        "LOCK",
        "(whole or part == 'whole') and",
        "part == 'whole' and",
    ),
    Mutant(
        "the recovery of another server goes on",
        "LOCK",
        "return begins(here.of, identity()) and here or {}",
        "return here",
    ),
    Mutant(
        "who shares goes on with what one held alone",
        "LOCK",
        "here.of and not here.whole",
        "here.of",
    ),
    Mutant(
        "a shard that is open is shared", "LOCK", "if sealed and not whole then", "if false then"
    ),
    Mutant(
        "the first partition is not asked for",
        "OPEN",
        "for number = 0, partitions - 1 do",
        "for number = 1, partitions - 1 do",
    ),
    Mutant(
        "what was done under another name counts",
        "OPEN",
        "return here.of == name\n",
        "return true\n",
    ),
    Mutant("the lock is not looked at", "OPEN", "holder(here[part], now_ms()) == token", "true"),
    Mutant(
        "the second of two who open is refused",
        "OPEN",
        "if sealed and begins(seal, ARGV[1] .. '/') then",
        "if false then",
    ),
    Mutant("a recovery outlives its opening", "OPEN", "call('DEL', leases)", ""),
    Mutant("nothing is ever done", "REASSERT", "if done and part ~= 'whole' then", "if false then"),
    Mutant(
        "every stretch is the last one",
        "REASSERT",
        "if done and part ~= 'whole' then",
        "if part ~= 'whole' then",
    ),
    Mutant(
        "nobody asks who holds a part",
        "REASSERT",
        "holder(here[part], now_ms()) == token",
        "true",
    ),
    Mutant("nobody asks in which recovery", "REASSERT", "here.of == name and holder", "holder"),
    Mutant("the end settles nothing", "REASSERT", "tonumber(ARGV[5]) % 2 == 1", "ARGV[5] == '1'"),
    Mutant("a broken seal leaves what is done", "UNSEAL", "call('DEL', leases)", ""),
    Mutant("whoever died is seen for ever", "LOOK", _ENDS, "token"),
    Mutant("what is done is not seen", "LOOK", "insert(done, tonumber(part))", ""),
)
