-- Ledger.open: seals the shard anew, unless it is sealed, and ends the recovery.
--
-- ARGV[1], ARGV[2]: what the recovery runs against, and who opens
-- ARGV[3], ARGV[4]: partition (2 bytes) and frontier, or begun (8 bytes), of each partition
-- ARGV[5]: how many partitions must be done; 0: the caller holds the shard as a whole
-- Gives 1, or 0 if they are not, or it does not, or the server is another one.

local seal, many = recall('seal'), tonumber(ARGV[5])
local sealed = begins(seal, identity())
if sealed and begins(seal, ARGV[1] .. '/') then
  return 1
end
if many == 0 and not holds(ARGV[1], ARGV[2], 'whole') or many > 0 and not complete(ARGV[1], many) then
  return 0
end

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
call('DEL', leases)
return 1
