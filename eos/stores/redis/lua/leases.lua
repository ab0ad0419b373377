-- Who recovers the shard (leases.py). The fields of the hash `eos:{tag}:leases`:
--   of           what the recovery runs against: the server's identity, and a stamp of its own.
--                What was put back before a flush is gone with it, and so is the hash: who goes
--                on with a recovery from before finds another stamp
--   whole, <n>   the shard as a whole, partition n: until when (milliseconds) and by whom it is
--                held, as `<until>/<token>`; or DONE

local leases, DONE = meta .. ':leases', 'done'

local function now_ms()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end

-- All fields; none if they are of another server, whose data came here.
local function recovery()
  local fields, here = call('HGETALL', leases), {}
  for i = 1, #fields, 2 do
    here[fields[i]] = fields[i + 1]
  end
  return begins(here.of, identity()) and here or {}
end

-- Gives who holds a lease, unless it has run out.
local function holder(lease, now)
  local ends, token = string.match(lease or '', '^(%d+)/(.*)$')
  return ends and tonumber(ends) > now and token or nil
end

-- Whether the caller still holds the part that it took in this recovery, on this server.
local function holds(name, token, part)
  local here = recovery()
  return here.of == name and holder(here[part], now_ms()) == token
end

-- Whether all partitions are done, in this recovery, on this server.
local function complete(name, partitions)
  local here = recovery()
  for number = 0, partitions - 1 do
    if here[format('%d', number)] ~= DONE then
      return false
    end
  end
  return here.of == name
end
