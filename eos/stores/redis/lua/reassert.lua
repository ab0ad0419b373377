-- Ledger.reassert: puts owners back (rules.restored; where it is not settled, rules.reasserts).
--
-- ARGV[1], ARGV[2]: what the recovery runs against, and `<part>/<token>`: who holds which part
-- ARGV[3]: one partition, laid out as in claim.lua (epoch, frontier, start and begun do not
--   count)
-- ARGV[4]: length of a generation in seconds
-- ARGV[5]: '1': all of it is settled, and overrules owners; '2': nothing is left of the part that
--   the caller holds; '3': both
-- ARGV[6]: digest and position of those that the audit has, 24 bytes each, as records
-- ARGV[7]: where records were dead-lettered that were published again; see `dead_lettered`
-- ARGV[8]: where it is settled: raises the floor to here
-- ARGV[9]: gaps of the partition, start and stop (8 bytes each)
-- Gives 1, or 0 if the part or the server's identity is lost.

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

local part, token = string.match(ARGV[2], '^(%w*)/(.*)$')
local stretch, length = ARGV[3], tonumber(ARGV[4])
local settled, done = tonumber(ARGV[5]) % 2 == 1, ARGV[5] >= '2'
local redriven = dead_lettered(ARGV[7])
local now = tonumber(call('TIME')[1])
if not holds(ARGV[1], token, part) then
  return 0
end

local number, _, _, _, stop, _, runs, _, at = read(HEAD_OF, stretch)
local packed, known = recall('generations', 'p' .. number)
local all = generations(packed)
local p = partition(known)
for place = 1, #ARGV[9], 16 do
  local first, past = read('>I8I8', ARGV[9], place)
  add_gap(all, number, first, past, now, length)
end
local record, last, n = at + 12 * runs, p.last, 0
for run = 0, runs - 1 do
  local count, stamp = read(RUN, stretch, at + 12 * run)
  last = log_time(stamp, p.last, now)
  local generation = make_room(all, (floor(last / length) + 1) * length, count)
  for _ = 1, count do
    local digest, value
    digest, value, record = read('c12c12', stretch, record)
    if digest ~= UNKEYED then
      local owner = own(generation, digest, value)
      local position = owner and sub(owner, 1, 8)
      if owner and (settled and owner ~= value or position == redriven[n] or is_void(position)) then
        take_over(generation, digest, value)
      end
    end
    n = n + 1
  end
end
for place = 1, #ARGV[6], 24 do
  local digest, value = read('c12c12', ARGV[6], place)
  disown(all, digest, sub(value, 1, 8))
end

save(all)
p.claimed, p.last = max(p.claimed, stop), last
if settled then
  p.floor = max(p.floor, tonumber(ARGV[8]))
end
remember(number, p)
if done and part ~= 'whole' then
  call('HSET', leases, part, DONE)
end
return 1
