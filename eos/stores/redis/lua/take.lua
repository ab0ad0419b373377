-- Ledger.take: bumps the epoch of each partition (ARGV[2], …) of the shard named ARGV[1].
-- Gives epoch, claimed, floor, begun and the epoch before of each, in turn.

local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local taken = {}
for i = 2, #ARGV do
  local p = partition(recall('p' .. ARGV[i]))
  local previous = p.epoch
  p.epoch = max(p.epoch + 1, now_us) -- rules.next_epoch
  remember(ARGV[i], p)
  for _, number in ipairs({ p.epoch, p.claimed, p.floor, p.begun, previous }) do
    insert(taken, number)
  end
end
call('HSET', meta, 'shard', ARGV[1]) -- for people who look
return taken
