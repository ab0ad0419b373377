-- Owners are filed in generations, and in each of them in buckets: small hashes, which Redis
-- keeps as listpacks, at 28 bytes an owner. The number of buckets grows with the owners by
-- linear hashing: bucket after bucket is split in two, LOAD owners to a bucket on average.
-- The fullest bucket, one that waits for its split, has up to 2 * LOAD on average, which
-- stays below the 128 entries that the smallest default allows a listpack.
--
-- The field `generations` of the meta hash: the next id, then for each generation its id,
-- where it ends (log time), its buckets, its owners.

local LOAD = 40
local HEAD, GENERATION, WIDTH = '>I4', '>I4I8I4I8', 24
local UNKEYED = string.rep('\0', 12)
local buckets_of = 'eos' .. LAYOUT .. sub(meta, 4) .. ':'

local function prepare(generation)
  local top = 1
  while top * 2 <= generation.buckets do
    top = top * 2
  end
  generation.top = top
  generation.prefix = buckets_of .. string.format('%x:', generation.id)
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
    insert(parts, pack(GENERATION, g.id, g.ends, g.buckets, g.owners))
  end
  call('HSET', meta, 'layout', LAYOUT, 'generations', concat(parts))
end

-- Where an owner stands, by the first four bytes of its digest.
local function bucket(generation, digest)
  local a, b, c, d = byte(digest, 1, 4)
  local hash = ((a * 256 + b) * 256 + c) * 256 + d
  local top = generation.top
  local i = hash % (top * 2)
  if i >= generation.buckets then
    i = i - top
  end
  return generation.prefix .. i
end

-- Splits the next bucket. At each point a look-up finds every owner: first the copies, then
-- the new number of buckets, then the originals go.
local function split(all, generation)
  local new, top = generation.buckets, generation.top
  local old = generation.prefix .. (new - top)
  local owners = call('HGETALL', old)
  local moved, digests = {}, {}
  for i = 1, #owners, 2 do
    local a, b, c, d = byte(owners[i], 1, 4)
    if (((a * 256 + b) * 256 + c) * 256 + d) % (top * 2) == new then
      local n = #digests
      moved[2 * n + 1], moved[2 * n + 2] = owners[i], owners[i + 1]
      digests[n + 1] = owners[i]
    end
  end
  if digests[1] then
    call('HSET', generation.prefix .. new, unpack(moved))
  end
  generation.buckets = new + 1
  if generation.buckets == top * 2 then
    generation.top = top * 2
  end
  save(all)
  if digests[1] then
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
    generation = { id = all.next, ends = ends, buckets = 1, owners = 0 }
    all.next = all.next + 1
    insert(all, generation)
  end
  local wanted = ceil((generation.owners + more) / LOAD)
  if generation.owners == 0 then
    generation.buckets = max(generation.buckets, wanted)
    prepare(generation)
    save(all)
  end
  while generation.buckets < wanted do
    split(all, generation)
  end
  return generation
end

-- Makes `value` the owner in `generation` if nobody owns the key in any; gives who does.
local function own(all, generation, digest, value)
  for _, other in ipairs(all) do
    if other ~= generation and other.owners > 0 then
      local owner = call('HGET', bucket(other, digest), digest)
      if owner then
        return owner
      end
    end
  end
  local name = bucket(generation, digest)
  if call('HSETNX', name, digest, value) == 0 then
    return call('HGET', name, digest)
  end
  generation.owners = generation.owners + 1
end
