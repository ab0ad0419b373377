-- Ledger.claim: a batch of claims, all or nothing.
--
-- ARGV[1]: for each partition, a head, its runs, its records.
--   head: partition, epoch, frontier, start, end, number of runs, number of records
--   run: how many records, the highest time stamp so far: all of one generation
--   record: digest (12 bytes, zeros for no key), partition (2), offset (6), fingerprint (4)
-- ARGV[2]: length of a generation in seconds.
-- Gives {0, seal, verdicts, owners} or {1} closed, {2, partition} fenced, {3, partition} gap.
--
-- Nothing is half done. Whatever refuses comes before the first write. Without memory Redis
-- refuses the first write of a script, and then no later one (every command here that comes
-- first needs memory). Owners are written before `claimed`: should a write fail for a reason
-- nobody thought of, the batch comes again, and finds itself as owner.

local HEAD_OF, RUN = '>I2I8I8I8I8I2I4', '>I4I8'
local FRESH, AGAIN, DUPLICATE, CONFLICT, SETTLED = '\0', '\1', '\2', '\3', '\4'

local batch, length = ARGV[1], tonumber(ARGV[2])
local now = tonumber(call('TIME')[1])

local parts, fields, at = {}, {}, 1
while at <= #batch do
  local p = {}
  p.number, p.epoch, p.frontier, p.start, p.stop, p.runs, p.records, at =
    read(HEAD_OF, batch, at)
  p.at = at
  at = at + 12 * p.runs + 24 * p.records
  insert(parts, p)
  insert(fields, 'p' .. p.number)
end

local known = { recall('seal', 'generations', unpack(fields)) }
local seal = known[1]
if not begins(seal, identity()) then
  return { 1 }
end
for i, p in ipairs(parts) do
  p.newest, p.claimed, p.floor, p.last, p.passed = partition(known[i + 2])
  if p.epoch < p.newest then
    return { 2, p.number }
  end
  if p.start > p.claimed then
    return { 3, p.number }
  end
end

local all = generations(known[2])
local verdicts, owners, n = {}, {}, 0
for _, p in ipairs(parts) do
  local settled_below = max(p.floor, p.frontier)
  local settling = true
  local record, last = p.at + 12 * p.runs, p.last
  for run = 0, p.runs - 1 do
    local count, stamp = read(RUN, batch, p.at + 12 * run)
    last = log_time(stamp, p.last, now)
    local generation = make_room(all, (floor(last / length) + 1) * length, count)
    for _ = 1, count do
      local digest, value
      digest, value, record = read('c12c12', batch, record)
      -- Records come in the order of their offsets.
      settling = settling and read('>I6', value, 3) < settled_below
      local verdict = FRESH
      if settling then
        verdict = SETTLED
      elseif digest ~= UNKEYED then
        local owner = own(generation, digest, value)
        if owner then
          if sub(owner, 1, 8) == sub(value, 1, 8) then
            verdict = AGAIN
          else
            verdict = sub(owner, 9) == sub(value, 9) and DUPLICATE or CONFLICT
            owners[#owners + 1] = owner
          end
        end
      end
      n = n + 1
      verdicts[n] = verdict
    end
  end
  p.floor, p.last = settled_below, last
end

save(all)
for _, p in ipairs(parts) do
  -- After a loss nobody is fenced, until the newest epoch is heard of again: remember it.
  remember(p.number, max(p.newest, p.epoch), max(p.claimed, p.stop), p.floor, p.last, p.passed)
end
return { 0, seal, concat(verdicts), concat(owners) }
