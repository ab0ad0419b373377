-- Ledger.lock: takes a part of the shard to recover it, or holds on to it (leases.lease).
--
-- ARGV[1]: names the caller
-- ARGV[2]: for how many milliseconds
-- ARGV[3], …: `whole`, or: the partitions of which one is wanted, the first one first
-- Gives false while somebody else holds the shard as a whole, or, if that is asked for, anything
-- of it; otherwise what the recovery runs against, whether the shard is sealed, what the caller
-- holds ('' for nothing), the partitions that are done, and {partition, claimed, floor, …}.

local token, whole = ARGV[1], ARGV[3] == 'whole'
local here, now = recovery(), now_ms()
local sealed = begins(recall('seal'), identity())

local function answer(name, part, done)
  local known = {}
  for number, p in pairs(partitions()) do
    if p.claimed > 0 then
      insert(known, number)
      insert(known, p.claimed)
      insert(known, p.floor)
    end
  end
  return { name, sealed and 1 or 0, part, done, known }
end

if sealed and not whole then
  return answer(identity(), '', {})
end

for part, lease in pairs(here) do
  local other = holder(lease, now)
  if (whole or part == 'whole') and other and other ~= token then
    return false
  end
end

local goes_on = here.of and not here.whole
if whole then
  goes_on = holder(here.whole, now) == token
end
if not goes_on then
  local time = call('TIME')
  here = { of = identity() .. time[1] .. '.' .. time[2] }
  call('DEL', leases)
  call('HSET', leases, 'of', here.of)
end

local held = ''
for i = 3, #ARGV do
  local part = ARGV[i]
  local other = holder(here[part], now)
  if here[part] ~= DONE and (not other or other == token) then
    held = part
    call('HSET', leases, part, format('%.0f/%s', now + ARGV[2], token))
    break
  end
end

local done = {}
for part, lease in pairs(here) do
  if lease == DONE then
    insert(done, tonumber(part))
  end
end
return answer(here.of, held, done)
