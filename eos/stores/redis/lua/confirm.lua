-- Ledger.confirm: whether the seal ARGV[1] still stands, on this very server.

return stands(ARGV[1]) and 1 or 0
