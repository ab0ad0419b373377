-- Ledger.confirm: whether the seal ARGV[1] still stands, on this very server.

local seal = recall('seal')
return seal == ARGV[1] and begins(seal, identity()) and 1 or 0
