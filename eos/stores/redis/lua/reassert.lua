-- Ledger.reassert: puts owners back (rules.restored; where it is not settled, rules.reasserts).
--
-- ARGV[1], ARGV[2]: what the recovery runs against, and the token of its lock
-- ARGV[3]: one partition, laid out as in claim.lua (epoch, frontier, start and begun do not
--   count)
-- ARGV[4]: length of a generation in seconds
-- ARGV[5]: '1': all of it is settled, and overrules owners
-- ARGV[6]: digest and position of those that the audit has, 24 bytes each, as records
-- Gives 1, or 0 if the lock or the server's identity is lost.

local HEAD_OF, RUN = '>I2I8I8I8I8I8I2I4', '>I4I8'

-- Lets go of a key's owner; where `position` is given, only if that is it.
local function disown(all, digest, position)
  local hash = read('<I4', digest)
  for _, g in ipairs(all) do
    local name = g.owners > 0 and bucket(g, hash)
    local owner = name and call('HGET', name, digest)
    if owner and (not position or sub(owner, 1, 8) == position) then
      call('HDEL', name, digest)
      g.owners = g.owners - 1
    end
  end
end

local stretch, length, settled = ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local now = tonumber(call('TIME')[1])
if not holds(ARGV[1], ARGV[2]) then
  return 0
end

local number, _, _, _, stop, _, runs, _, at = read(HEAD_OF, stretch)
local packed, known = recall('generations', 'p' .. number)
local all = generations(packed)
local p = partition(known)
local record, last = at + 12 * runs, p.last
for run = 0, runs - 1 do
  local count, stamp = read(RUN, stretch, at + 12 * run)
  last = log_time(stamp, p.last, now)
  local generation = make_room(all, (floor(last / length) + 1) * length, count)
  for _ = 1, count do
    local digest, value
    digest, value, record = read('c12c12', stretch, record)
    if digest ~= UNKEYED then
      local owner = own(generation, digest, value)
      if owner and settled and owner ~= value then
        disown(all, digest)
        own(generation, digest, value)
      end
    end
  end
end
for place = 1, #ARGV[6], 24 do
  local digest, value = read('c12c12', ARGV[6], place)
  disown(all, digest, sub(value, 1, 8))
end

save(all)
p.claimed, p.last = max(p.claimed, stop), last
if settled then
  p.floor = max(p.floor, stop)
end
remember(number, p)
return 1
