-- What every script begins with.
--
-- KEYS[1] is the shard's meta hash, `eos:{tag}`. Its fields:
--   layout       version of all that follows; the buckets carry it in their names, too
--   seal         <layout>/<run id>/<replication id>/<stamp of the recovery>/<its token>
--   p<n>         partition n, 8 bytes each, big-endian: epoch, claimed, floor, last, passed;
--                plain tier: begun, and opened: where the log ended when the shard was
--                opened; owners below are hearsay
--   g<n>         where nothing is delivered any more in partition n, 24 bytes each gap: its
--                start, its stop, and when it was found
--   generations  see generations.lua
--   dropping     see advance.lua
-- `eos:{tag}:leases` is a hash of those who recover the shard (leases.lua).
-- Lua's numbers are doubles: whole numbers are exact up to 2^53, and are never turned into
-- text by `..` or tostring(), which would round them to 14 digits.

local LAYOUT = '2'
local PARTITION = '>I8I8I8I8I8I8I8'

local call, sub, byte, format = redis.call, string.sub, string.byte, string.format
local pack, read = struct.pack, struct.unpack
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil
local insert, concat = table.insert, table.concat

local meta = KEYS[1]

-- The server that is answering right now, whatever stands between it and the client: a
-- restart changes the run id, a promotion the replication id. A replica keeps the seal of the
-- primary that it was until it has caught up with the new one: it counts as nobody.
local function identity()
  local run = string.match(call('INFO', 'server'), 'run_id:(%w+)')
  local replication = call('INFO', 'replication')
  local id = string.match(replication, 'role:master.*master_replid:(%w+)') or 'replica'
  return LAYOUT .. '/' .. run .. '/' .. id .. '/'
end

local function begins(text, start)
  return text and sub(text, 1, #start) == start
end

-- Fields of the meta hash, in the order asked; refuses data that another version wrote.
local function recall(...)
  local values = call('HMGET', meta, 'layout', ...)
  if values[1] and values[1] ~= LAYOUT then
    error('EOSLAYOUT ' .. values[1])
  end
  return unpack(values, 2, select('#', ...) + 1)
end

-- What is known of a partition, added to `p` if that is given.
local function partition(packed, p)
  p = p or {}
  if packed then
    p.epoch, p.claimed, p.floor, p.last, p.passed, p.begun, p.opened = read(PARTITION, packed)
  else
    p.epoch, p.claimed, p.floor, p.last, p.passed, p.begun, p.opened = 0, 0, 0, 0, 0, 0, 0
  end
  return p
end

-- All partitions that are known, by number.
local function partitions()
  local fields, all = call('HGETALL', meta), {}
  for i = 1, #fields, 2 do
    local number = string.match(fields[i], '^p(%d+)$')
    if number then
      all[tonumber(number)] = partition(fields[i + 1])
    end
  end
  return all
end

local function remember(number, p)
  local packed =
    pack(PARTITION, p.epoch, p.claimed, p.floor, p.last, p.passed, p.begun, p.opened)
  call('HSET', meta, 'layout', LAYOUT, 'p' .. number, packed)
end

-- rules.log_time
local function log_time(stamp, last, now)
  return max(last, min(stamp, now))
end

-- Whether this seal still stands, on this very server.
local function stands(seal)
  return recall('seal') == seal and begins(seal, identity())
end
