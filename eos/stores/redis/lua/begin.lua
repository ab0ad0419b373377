-- Ledger.begin: notes, under the seal ARGV[1], that records below the mark ARGV[2] may begin.
-- Gives 1, or 0 if the seal is not the one, or a newer epoch exists: then nothing is written.

local begun = stands(ARGV[1])
  and mark(ARGV[2], function(p, offset)
    p.begun = max(p.begun, offset)
  end)
return begun and 1 or 0
