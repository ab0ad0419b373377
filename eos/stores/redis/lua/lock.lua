-- Ledger.lock: takes the recovery lock for the token ARGV[1], or holds on to it, for ARGV[2]
-- milliseconds. Gives false while somebody else holds it, or
-- {what the recovery runs against, sealed, partition, claimed, floor, …}.

local held = call('GET', lock)
local stamp
if held then
  stamp = string.match(held, '^[^/]*')
  if held ~= stamp .. '/' .. ARGV[1] then
    return false
  end
else
  local time = call('TIME')
  stamp = time[1] .. '.' .. time[2]
end

local sealed = begins(recall('seal'), identity())
local answer = { identity() .. stamp, sealed and 1 or 0 }
for number, p in pairs(partitions()) do
  if p.claimed > 0 then
    insert(answer, number)
    insert(answer, p.claimed)
    insert(answer, p.floor)
  end
end
call('SET', lock, stamp .. '/' .. ARGV[1], 'PX', ARGV[2])
return answer
