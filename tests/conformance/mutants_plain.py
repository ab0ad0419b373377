"""Wounds in what the scripts do for the plain tier. The differential test must notice each."""

from tests.conformance.mutants import Mutant

MUTANTS = (
    Mutant("a claim forgets its mark", "CLAIM", "max(p.begun, p.begins)", "p.begun"),
    Mutant("a claim lowers the mark", "CLAIM", "max(p.begun, p.begins)", "p.begins"),
    Mutant(
        "a claim tells its own mark",
        "CLAIM",
        "pack('>I8I8', p.floor, p.begun)",
        "pack('>I8I8', p.floor, max(p.begun, p.begins))",
    ),
    Mutant(
        "a claim tells the frontier it was told",
        "CLAIM",
        "pack('>I8I8', p.floor, p.begun)",
        "pack('>I8I8', p.frontier, p.begun)",
    ),
    Mutant(
        "known stands in the wrong order",
        "CLAIM",
        "before[i] = pack",
        "before[#parts + 1 - i] = pack",
    ),
    Mutant(
        "hearsay is never said",
        "CLAIM",
        "below > 0 and read('>I6', owners[i], 3) < below",
        "false",
    ),
    Mutant(
        "where the log ended is hearsay",
        "CLAIM",
        "owners[i], 3) < below",
        "owners[i], 3) <= below",
    ),
    Mutant(
        "every owner of a recovered partition is hearsay",
        "CLAIM",
        "and read('>I6', owners[i], 3) < below",
        "",
    ),
    Mutant(
        "the first owner's partition stands for all",
        "CLAIM",
        "local place = sub(owners[i], 1, 2)",
        "local place = sub(owners[1], 1, 2)",
    ),
    Mutant(
        "what is settled is hearsay",
        "CLAIM",
        "read('>I2', place))).opened",
        "read('>I2', place))).floor",
    ),
    Mutant(
        "what has begun is hearsay",
        "CLAIM",
        "read('>I2', place))).opened",
        "read('>I2', place))).begun",
    ),
    Mutant("begin asks for no seal", "BEGIN", "recall('seal') == seal and", "recall('seal') and"),
    Mutant(
        "begin does not ask which server",
        "BEGIN",
        "== seal and begins(seal, identity())",
        "== seal",
    ),
    Mutant("begin fences nobody", "BEGIN", "if epoch < p.epoch then", "if false then"),
    Mutant("begin lowers the mark", "BEGIN", "max(p.begun, offset)", "offset"),
    Mutant(
        "begin settles", "BEGIN", "p.begun = max(p.begun, offset)", "p.floor = max(p.floor, offset)"
    ),
    Mutant("settle asks for no seal", "SETTLE", "recall('seal') == seal and", "recall('seal') and"),
    Mutant(
        "settle does not ask which server",
        "SETTLE",
        "== seal and begins(seal, identity())",
        "== seal",
    ),
    Mutant("settle fences nobody", "SETTLE", "if epoch < p.epoch then", "if false then"),
    Mutant(
        "settle fences the newest", "SETTLE", "if epoch < p.epoch then", "if epoch <= p.epoch then"
    ),
    Mutant("settle moves back", "SETTLE", "max(p.floor, offset)", "offset"),
    Mutant(
        "settle writes until one is fenced",
        "SETTLE",
        "change(p, offset)",
        "change(p, offset) remember(number, p)",
    ),
    Mutant(
        "of two marks of one partition the last one counts",
        "SETTLE",
        "local p = all[number] or partition",
        "local p = partition",
    ),
    Mutant(
        "settle asks for the seal last",
        "SETTLE",
        "if not stands(ARGV[1]) then",
        "if mark(ARGV[2], function() end) and not stands(ARGV[1]) then",
    ),
    Mutant("rewind fences nobody", "REWIND", "if epoch < p.epoch then", "if false then"),
    Mutant("rewind moves forward", "REWIND", "min(p.floor, offset)", "offset"),
    Mutant("rewind moves marks forward", "REWIND", "min(p.begun, offset)", "offset"),
    Mutant("rewind leaves what has begun", "REWIND", "min(p.begun, offset)", "p.begun"),
    Mutant("opening forgets what has begun", "OPEN", "max(p.begun, begun)", "p.begun"),
    Mutant("opening lowers what has begun", "OPEN", "max(p.begun, begun)", "begun"),
    Mutant("opening makes no hearsay", "OPEN", "max(p.opened, begun)", "0"),
    Mutant("under a seal that stands hearsay falls", "OPEN", "max(p.opened, begun)", "begun"),
    Mutant("hearsay is up to the frontier", "OPEN", "max(p.opened, begun)", "p.floor"),
    Mutant("hearsay is up to the mark", "OPEN", "max(p.opened, begun)", "max(p.begun, begun)"),
    Mutant("hearsay survives a new seal", "OPEN", "    p.opened = 0\n", ""),
    Mutant(
        "hearsay goes with every opening",
        "OPEN",
        "if not sealed then\n  for",
        "if true then\n  for",
    ),
    Mutant(
        "a take-over tells the floor as begun",
        "TAKE",
        "p.floor, p.begun, previous }",
        "p.floor, p.floor, previous }",
    ),
    Mutant(
        "moving the window loses the marks",
        "ADVANCE",
        "p.last = max(p.last, p.passed)",
        "p.last, p.begun = max(p.last, p.passed), 0",
    ),
    Mutant(
        "putting back loses the marks",
        "REASSERT",
        "p.claimed, p.last = max(p.claimed, stop), last",
        "p.claimed, p.last, p.begun = max(p.claimed, stop), last, 0",
    ),
)
