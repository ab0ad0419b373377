-- Owners are filed in generations, and in each of them in buckets: small hashes, which Redis
-- keeps as listpacks, at 28 bytes an owner. The number of buckets grows with the owners by
-- linear hashing: bucket after bucket is split in two, LOAD owners to a bucket on average.
-- The fullest bucket, one that waits for its split, has up to 2 * LOAD on average, which
-- stays below the 128 entries that the smallest default allows a listpack.
-- A ledger begins with FIRST buckets: small ones are not worth splitting.
--
-- The field `generations` of the meta hash: the next id, then for each generation its id,
-- where it ends (log time), its buckets, its owners.

local LOAD, FIRST = 20, 4096
local HEAD, GENERATION, WIDTH = '>I4', '>I4I8I4I8', 24
local UNKEYED = string.rep('\0', 12)
local buckets_of = 'eos' .. LAYOUT .. sub(meta, 4) .. ':'

-- What follows from a generation's number of buckets: the greatest power of 2 in it.
local function prepare(generation)
  local top = 1
  while top * 2 <= generation.buckets do
    top = top * 2
  end
  generation.top = top
  generation.name = format('%s%x:%%x', buckets_of, generation.id)
  return generation
end

local function generations(packed)
  local all = { next = 1 }
  if packed then
    all.next = read(HEAD, packed)
    for at = 5, #packed, WIDTH do
      local id, ends, buckets, owners = read(GENERATION, packed, at)
      insert(all, prepare({ id = id, ends = ends, buckets = buckets, owners = owners }))
    end
  end
  return all
end

local function save(all)
  local parts = { pack(HEAD, all.next) }
  for _, g in ipairs(all) do
    if g.owners > 0 then
      insert(parts, pack(GENERATION, g.id, g.ends, g.buckets, g.owners))
    end
  end
  call('HSET', meta, 'layout', LAYOUT, 'generations', concat(parts))
end

-- The bucket that an owner stands in, by the first four bytes of its digest. (Numbers are
-- put into names by format, which takes half the time that `..` does.)
local function bucket(generation, hash)
  local i = hash % (generation.top * 2)
  if i >= generation.buckets then
    i = i - generation.top
  end
  return format(generation.name, i)
end

-- Splits the next bucket. At each point a look-up finds every owner: first the copies, then
-- the new number of buckets, then the originals go.
local function split(all, generation)
  local new, top = generation.buckets, generation.top
  local old = format(generation.name, new - top)
  local owners = call('HGETALL', old)
  local moved, digests, n = {}, {}, 0
  for i = 1, #owners, 2 do
    if read('<I4', owners[i]) % (top * 2) == new then
      moved[2 * n + 1], moved[2 * n + 2] = owners[i], owners[i + 1]
      n = n + 1
      digests[n] = owners[i]
    end
  end
  if n > 0 then
    call('HSET', format(generation.name, new), unpack(moved))
  end
  generation.buckets = new + 1
  if generation.buckets == top * 2 then
    generation.top = top * 2
  end
  save(all)
  if n > 0 then
    call('HDEL', old, unpack(digests))
  end
end

-- Gives the generation that ends there, with room for so many more owners.
local function make_room(all, ends, more)
  local generation
  for _, g in ipairs(all) do
    if g.ends == ends then
      generation = g
    end
  end
  if not generation then
    -- As many buckets as its predecessor has: then hardly any is split, day after day. Should
    -- fewer owners come, it costs at most a tenth of what the predecessor takes.
    local predecessor = all[#all]
    local buckets = predecessor and predecessor.buckets or FIRST
    generation = { id = all.next, ends = ends, buckets = buckets, owners = 0 }
    all.next = all.next + 1
    insert(all, generation)
  end
  local wanted = ceil((generation.owners + more) / LOAD)
  if generation.owners == 0 then
    generation.buckets = max(generation.buckets, wanted)
    prepare(generation)
  end
  -- Bounded by what is claimed, should the generation be short of buckets for another reason.
  for _ = 1, min(wanted - generation.buckets, 2 * ceil(more / LOAD)) do
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
