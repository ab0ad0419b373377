-- Ledger.open: seals the shard anew, unless it is sealed, and gives the lock back.
--
-- ARGV[1], ARGV[2]: what the recovery runs against, and the token of its lock
-- ARGV[3], ARGV[4]: partition (2 bytes) and frontier, or begun (8 bytes), of each partition
-- Gives 1, or 0 if the lock or the server's identity is lost.

if not holds(ARGV[1], ARGV[2]) then
  return 0
end

local sealed = begins(recall('seal'), identity())
local all = partitions()
if not sealed then
  for _, p in pairs(all) do
    p.opened = 0
  end
end
for at = 1, #ARGV[3], 10 do
  local number, frontier = read('>I2I8', ARGV[3], at)
  local p = all[number] or partition(nil)
  all[number] = p
  p.claimed, p.floor = max(p.claimed, frontier), max(p.floor, frontier)
end
for at = 1, #ARGV[4], 10 do
  local number, begun = read('>I2I8', ARGV[4], at)
  local p = all[number] or partition(nil)
  all[number] = p
  p.begun, p.opened = max(p.begun, begun), max(p.opened, begun)
end

for number, p in pairs(all) do
  remember(number, p)
end
if not sealed then
  call('HSET', meta, 'layout', LAYOUT, 'seal', ARGV[1] .. '/' .. ARGV[2])
end
call('DEL', lock)
return 1
