-- Owners are filed in generations, and in each of them in buckets: small hashes, which Redis
-- keeps as listpacks, at 28 bytes an owner and some for the bucket itself. The buckets grow in
-- number with the owners, by linear hashing: bucket after bucket is split in four, so that
-- there are LOAD owners to a bucket on average. (In two would do, and touch each owner twice as
-- often.) The fullest buckets are those that wait for the end of a round, with up to 4 * LOAD
-- on average: below the 128 that the smallest default allows a listpack. A ledger begins with
-- FIRST buckets: fewer are not worth splitting.
--
-- The field `generations` of the meta hash: the next id, then for each generation its id,
-- where it ends (log time), its buckets at the start of the round, how many of them are split,
-- its owners.

local LOAD, FIRST = 20, 4096
local HEAD, GENERATION, WIDTH = '>I4', '>I4I8I4I4I8', 28
local UNKEYED = string.rep('\0', 12)
local buckets_of = 'eos' .. LAYOUT .. sub(meta, 4) .. ':'

local function bucket_names(id)
  return format('%s%x:%%x', buckets_of, id)
end

local function generations(packed)
  local all = { next_id = 1 }
  if packed then
    all.next_id = read(HEAD, packed)
    for at = 5, #packed, WIDTH do
      local g = {}
      g.id, g.ends, g.base, g.split, g.owners = read(GENERATION, packed, at)
      g.names = bucket_names(g.id)
      insert(all, g)
    end
  end
  return all
end

local function save(all)
  local parts = { pack(HEAD, all.next_id) }
  for _, g in ipairs(all) do
    if g.owners > 0 then
      insert(parts, pack(GENERATION, g.id, g.ends, g.base, g.split, g.owners))
    end
  end
  call('HSET', meta, 'layout', LAYOUT, 'generations', concat(parts))
end

-- The bucket of an owner, by the first four bytes of its digest. (Numbers are put into names
-- by format, which takes half the time that `..` does.)
local function bucket(generation, hash)
  local base = generation.base
  local i = hash % base
  if i < generation.split then
    i = hash % (base * 4)
  end
  return format(generation.names, i)
end

-- Splits the next bucket. At each point a look-up finds every owner: first the copies, then
-- the new number of buckets, then the originals go.
local function split(all, generation)
  local first, base = generation.split, generation.base
  local old = format(generation.names, first)
  local owners = call('HGETALL', old)
  local parts, moved, n = { {}, {}, {} }, {}, 0
  for i = 1, #owners, 2 do
    local digest = owners[i]
    local part = parts[(read('<I4', digest) % (base * 4) - first) / base]
    if part then
      local at = #part
      part[at + 1], part[at + 2] = digest, owners[i + 1]
      n = n + 1
      moved[n] = digest
    end
  end
  for i, part in ipairs(parts) do
    if part[1] then
      call('HSET', format(generation.names, first + i * base), unpack(part))
    end
  end
  generation.split = first + 1
  if generation.split == base then
    generation.base, generation.split = base * 4, 0
  end
  save(all)
  if n > 0 then
    call('HDEL', old, unpack(moved))
  end
end

-- Gives the generation that ends there. A new one begins with as many buckets as the one
-- before: then hardly any is split, day after day. Should fewer owners come, that costs at most
-- a tenth of what the one before takes.
local function generation_that_ends(all, ends)
  for _, g in ipairs(all) do
    if g.ends == ends then
      return g
    end
  end
  local before = all[#all] or { base = FIRST, split = 0 }
  local new = { id = all.next_id, ends = ends, base = before.base, split = before.split, owners = 0 }
  new.names = bucket_names(new.id)
  all.next_id = all.next_id + 1
  insert(all, new)
  return new
end

-- Gives the generation that ends there, with room for so many more owners.
local function make_room(all, ends, more)
  local generation = generation_that_ends(all, ends)
  local buckets = generation.base + 3 * generation.split
  local lacking = (generation.owners + more) / LOAD - buckets
  -- Bounded by what is claimed, should the generation be short of buckets for another reason.
  for _ = 1, min(ceil(lacking / 3), ceil(more / LOAD)) do
    split(all, generation)
  end
  generation.others = {}
  for _, g in ipairs(all) do
    if g ~= generation and g.owners > 0 then
      insert(generation.others, g)
    end
  end
  return generation
end

-- Makes `value` the owner in `generation` if nobody owns the key in any; gives who does.
local function own(generation, digest, value)
  local hash, others = read('<I4', digest), generation.others
  for i = 1, #others do
    local owner = call('HGET', bucket(others[i], hash), digest)
    if owner then
      return owner
    end
  end
  local name = bucket(generation, hash)
  if call('HSETNX', name, digest, value) == 0 then
    return call('HGET', name, digest)
  end
  generation.owners = generation.owners + 1
end

-- Makes `value` the owner in `generation` of a key that has one, wherever that is filed. The new
-- one is written first: it is this write that Redis refuses when memory is short.
local function take_over(generation, digest, value)
  local hash = read('<I4', digest)
  generation.owners = generation.owners + call('HSET', bucket(generation, hash), digest, value)
  for _, g in ipairs(generation.others) do
    g.owners = g.owners - call('HDEL', bucket(g, hash), digest)
  end
end

-- Where records were dead-lettered, by their place among all records of the call, from 0. Packed
-- as place (4 bytes), partition (2), offset (6).
local function dead_lettered(packed)
  local positions = {}
  for at = 1, #packed, 12 do
    local place, position = read('>I4c8', packed, at)
    positions[place] = position
  end
  return positions
end

-- Where nothing is delivered any more, by the two bytes of a partition; read when first needed.
local GAP = '>I8I8I8'
local gaps_of = {}

-- Whether a key's owner, by its position, stands in a gap.
local function is_void(position)
  local place = sub(position, 1, 2)
  local gaps = gaps_of[place]
  if not gaps then
    gaps = call('HGET', meta, 'g' .. read('>I2', place)) or ''
    gaps_of[place] = gaps
  end
  local offset = #gaps > 0 and read('>I6', position, 3)
  for at = 1, #gaps, 24 do
    local start, stop = read('>I8I8', gaps, at)
    if start <= offset and offset < stop then
      return true
    end
  end
  return false
end

-- rules.with_gap
local function add_gap(all, number, first, last, now, length)
  local field = 'g' .. number
  local known, kept = call('HGET', meta, field) or '', {}
  local oldest = 0
  for i, g in ipairs(all) do
    oldest = i == 1 and g.ends - length or min(oldest, g.ends - length)
  end
  for at = 1, #known, 24 do
    local start, stop, time = read(GAP, known, at)
    if time >= oldest and (start < first or stop > last) then
      insert(kept, sub(known, at, at + 23))
    end
  end
  insert(kept, pack(GAP, first, last, now))
  call('HSET', meta, 'layout', LAYOUT, field, concat(kept))
  gaps_of[pack('>I2', number)] = nil
end
