-- Ledger.claim: a batch of claims, all or nothing.
--
-- ARGV[1]: for each partition, a head, its runs, its records.
--   head: partition, epoch, frontier, start, end, begun, number of runs, number of records
--   run: how many records, the highest time stamp so far: all of one generation
--   record: digest (12 bytes, zeros for no key), partition (2), offset (6), fingerprint (4)
-- ARGV[2]: length of a generation in seconds.
-- ARGV[3]: where records were dead-lettered that were published again; see `dead_lettered`.
-- Gives {0, seal, verdicts, known, owners, hearsay}, or {1} closed, {2, partition} fenced,
-- {3, partition} gap.
--   known: floor and begun (8 bytes each) of each partition
--   owners: as in a record; hearsay: a byte for each of them
--
-- Nothing is half done. Whatever refuses comes before the first write. Without memory Redis
-- refuses the first write of a script, and then no later one (every command here that comes
-- first needs memory). Owners are written before `claimed`: should a write fail for a reason
-- nobody thought of, the batch comes again, and finds itself as owner.

local HEAD_OF, RUN = '>I2I8I8I8I8I8I2I4', '>I4I8'
local FRESH, AGAIN, DUPLICATE, CONFLICT, SETTLED = '\0', '\1', '\2', '\3', '\4'

local batch, length, redriven = ARGV[1], tonumber(ARGV[2]), dead_lettered(ARGV[3])
local now = tonumber(call('TIME')[1])

local parts, fields, at = {}, {}, 1
while at <= #batch do
  local p = {}
  p.number, p.told, p.frontier, p.start, p.stop, p.begins, p.runs, p.records, at =
    read(HEAD_OF, batch, at)
  p.at = at
  at = at + 12 * p.runs + 24 * p.records
  insert(parts, p)
  insert(fields, 'p' .. p.number)
end

-- Which owners stand below where the log ended when the shard was opened.
local function hearsay(owners)
  local opened, flags = {}, {}
  for i = 1, #owners do
    local place = sub(owners[i], 1, 2)
    local below = opened[place]
    if not below then
      below = partition(recall('p' .. read('>I2', place))).opened
      opened[place] = below
    end
    flags[i] = below > 0 and read('>I6', owners[i], 3) < below and '\1' or '\0'
  end
  return concat(flags)
end

local known = { recall('seal', 'generations', unpack(fields)) }
local seal = known[1]
if not begins(seal, identity()) then
  return { 1 }
end
for i, p in ipairs(parts) do
  partition(known[i + 2], p)
  if p.told < p.epoch then
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
          local position = sub(owner, 1, 8)
          if position == sub(value, 1, 8) then
            verdict = AGAIN
          elseif position == redriven[n] or is_void(position) then
            take_over(generation, digest, value)
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

if n > 0 then
  save(all)
end
local before = {}
for i, p in ipairs(parts) do
  before[i] = pack('>I8I8', p.floor, p.begun)
  -- After a loss nobody is fenced, until the newest epoch is heard of again: remember it.
  p.epoch, p.claimed, p.begun = max(p.epoch, p.told), max(p.claimed, p.stop), max(p.begun, p.begins)
  remember(p.number, p)
end
return { 0, seal, concat(verdicts), concat(before), concat(owners), hearsay(owners) }
