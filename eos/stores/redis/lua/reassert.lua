-- Ledger.reassert: puts owners back that nobody else owns by now.
--
-- ARGV[1], ARGV[2]: what the recovery runs against, and the token of its lock
-- ARGV[3]: one partition, laid out as in claim.lua (epoch, frontier, start and begun do not
--   count)
-- ARGV[4]: length of a generation in seconds
-- Gives 1, or 0 if the lock or the server's identity is lost.

local HEAD_OF, RUN = '>I2I8I8I8I8I8I2I4', '>I4I8'

local stretch, length = ARGV[3], tonumber(ARGV[4])
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
      own(generation, digest, value)
    end
  end
end

save(all)
p.claimed, p.last = max(p.claimed, stop), last
remember(number, p)
return 1
