-- Ledger.advance: notes how far partitions have come, and drops what no window needs.
--
-- ARGV[1]: partition (2 bytes) and log time of its frontier (8 bytes), for each one told
-- ARGV[2], ARGV[3]: how many partitions there are; the window in seconds
-- Gives how many generations are live.
--
-- A generation leaves the list as a whole, and its buckets go a few with each call. The field
-- `dropping` of the meta hash, for each generation that goes: its id, its buckets as in
-- generations.lua, and the number below which all of them are left.

local DROPPING, WIDTH_OF, BUDGET = '>I4I4I4I4', 16, 2000

-- Dropping must go on when memory is out. Redis refuses the first write of a script if it
-- needs memory, and later ones never: begin with one that needs none.
call('HDEL', meta, 'none')

local now = tonumber(call('TIME')[1])
for at = 1, #ARGV[1], 10 do
  local number, told = read('>I2I8', ARGV[1], at)
  local p = partition(recall('p' .. number))
  -- A clock that runs ahead would drop everything: clamp what we are told as well.
  p.passed = log_time(told, p.passed, now)
  -- What comes later stands later in the log: never file it under what is gone.
  p.last = max(p.last, p.passed)
  remember(number, p)
end

local all, dropping = generations((recall('generations'))), recall('dropping') or ''
local window, lowest = tonumber(ARGV[3]), math.huge
for number = 0, tonumber(ARGV[2]) - 1 do
  lowest = min(lowest, partition(recall('p' .. number)).passed)
end

local kept = { next_id = all.next_id }
for _, g in ipairs(all) do
  if lowest >= g.ends + window then
    local left = g.split > 0 and 3 * g.base + g.split or g.base
    dropping = dropping .. pack(DROPPING, g.id, g.base, g.split, left)
  else
    insert(kept, g)
  end
end
if #kept < #all then
  call('HSET', meta, 'dropping', dropping) -- first: nothing is ever forgotten
  save(kept)
end

if dropping ~= '' then
  local id, base, split_below, left = read(DROPPING, dropping)
  local first, names, form = max(0, left - BUDGET), {}, bucket_names(id)
  for i = first, left - 1 do
    if i < base or i % base < split_below then
      insert(names, format(form, i))
    end
  end
  if names[1] then
    call('UNLINK', unpack(names))
  end
  local rest = first > 0 and pack(DROPPING, id, base, split_below, first) or ''
  call('HSET', meta, 'dropping', rest .. sub(dropping, WIDTH_OF + 1))
end
return #kept
