-- Ledger.open: seals the shard anew, unless it is sealed, and gives the lock back.
--
-- ARGV[1], ARGV[2]: what the recovery runs against, and the token of its lock
-- ARGV[3]: partition (2 bytes) and frontier (8 bytes) of each partition
-- Gives 1, or 0 if the lock or the server's identity is lost.

if not holds(ARGV[1], ARGV[2]) then
  return 0
end
for at = 1, #ARGV[3], 10 do
  local number, frontier = read('>I2I8', ARGV[3], at)
  local epoch, claimed, settled_below, last, passed = partition(recall('p' .. number))
  remember(number, epoch, max(claimed, frontier), max(settled_below, frontier), last, passed)
end
if not begins(recall('seal'), identity()) then
  call('HSET', meta, 'layout', LAYOUT, 'seal', ARGV[1] .. '/' .. ARGV[2])
end
call('DEL', lock)
return 1
