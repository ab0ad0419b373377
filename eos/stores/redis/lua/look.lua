-- Inspection.look: tells what is known of a shard.
--
-- Gives {sealed, recovering, generations, partitions, done}: each generation as end and owners,
-- each partition as number, epoch, claimed, floor and begun, one after the other; the partitions
-- that are recovered.

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
local held, done, now = 0, {}, now_ms()
for part, lease in pairs(recovery()) do
  if lease == DONE then
    insert(done, tonumber(part))
  elseif holder(lease, now) then
    held = 1
  end
end
return { begins(seal, identity()) and 1 or 0, held, live, known, done }
