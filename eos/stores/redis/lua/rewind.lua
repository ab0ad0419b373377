-- Ledger.rewind: takes floors, and what has begun, back to the marks ARGV[1].
-- Gives 1, or 0 if a newer epoch exists: then nothing is written.

local rewound = mark(ARGV[1], function(p, offset)
  p.floor, p.begun = min(p.floor, offset), min(p.begun, offset)
end)
return rewound and 1 or 0
