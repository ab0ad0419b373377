-- Inspection.look: tells what is known of a shard.
--
-- Gives {sealed, locked, generations, partitions}: each generation as end and owners, each
-- partition as number, epoch, claimed, floor and begun, one after the other.

local seal, packed = recall('seal', 'generations')
local live, known = {}, {}
for _, g in ipairs(generations(packed)) do
  insert(live, g.ends)
  insert(live, g.owners)
end
for number, p in pairs(partitions()) do
  for _, value in ipairs({ number, p.epoch, p.claimed, p.floor, p.begun }) do
    insert(known, value)
  end
end
return { begins(seal, identity()) and 1 or 0, call('EXISTS', lock), live, known }
