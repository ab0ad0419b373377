-- Inspection.owners: tells who owns keys.
--
-- ARGV[1]: digests, 12 bytes each
-- Gives {digest, owner, digest, owner, …}, of those that somebody owns.

local packed = recall('generations')
local all, found = generations(packed), {}
for at = 1, #ARGV[1], 12 do
  local digest = sub(ARGV[1], at, at + 11)
  local hash = read('<I4', digest)
  for _, g in ipairs(all) do
    local owner = call('HGET', bucket(g, hash), digest)
    if owner then
      insert(found, digest)
      insert(found, owner)
      break
    end
  end
end
return found
