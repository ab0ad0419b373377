-- Ledger.advance: notes how far partitions have come, and drops what no window needs.
--
-- ARGV[1]: partition (2 bytes) and log time of its frontier (8 bytes), for each one told
-- ARGV[2], ARGV[3]: how many partitions there are; the window in seconds
-- Gives how many generations are live.
--
-- A generation leaves the list as a whole, and its buckets go a few with each call. The field
-- `dropping` of the meta hash: id and number of buckets left, for each generation that goes.

local DROPPING, BUDGET = '>I4I4', 2000

-- Dropping must go on when memory is out. Redis refuses the first write of a script if it
-- needs memory, and later ones never: begin with one that needs none.
call('HDEL', meta, 'none')

local now = tonumber(call('TIME')[1])
for at = 1, #ARGV[1], 10 do
  local number, told = read('>I2I8', ARGV[1], at)
  local epoch, claimed, settled_below, last, passed = partition(recall('p' .. number))
  -- A clock that runs ahead would drop everything: clamp what we are told as well.
  passed = log_time(told, passed, now)
  -- What comes later stands later in the log: never file it under what is gone.
  remember(number, epoch, claimed, settled_below, max(last, passed), passed)
end

local all, dropping = generations((recall('generations'))), recall('dropping') or ''
local window, lowest = tonumber(ARGV[3]), math.huge
for number = 0, tonumber(ARGV[2]) - 1 do
  local _, _, _, _, passed = partition(recall('p' .. number))
  lowest = min(lowest, passed)
end

local kept = { next = all.next }
for _, g in ipairs(all) do
  if lowest >= g.ends + window then
    dropping = dropping .. pack(DROPPING, g.id, g.buckets)
  else
    insert(kept, g)
  end
end
if #kept < #all then
  call('HSET', meta, 'dropping', dropping) -- first: nothing is ever forgotten
  save(kept)
end

if dropping ~= '' then
  local id, left = read(DROPPING, dropping)
  local names, first = {}, max(0, left - BUDGET)
  for i = first, left - 1 do
    insert(names, format('%s%x:%x', buckets_of, id, i))
  end
  call('UNLINK', unpack(names))
  dropping = (first > 0 and pack(DROPPING, id, first) or '') .. sub(dropping, 9)
  call('HSET', meta, 'dropping', dropping)
end
return #kept
