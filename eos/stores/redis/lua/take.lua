-- Ledger.take: bumps the epoch of each partition (ARGV[2], …) of the shard named ARGV[1].
-- Gives epoch, claimed and floor of each, in turn.

local time = call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
call('HSET', meta, 'shard', ARGV[1]) -- for people who look
local taken = {}
for i = 2, #ARGV do
  local epoch, claimed, settled_below, last, passed = partition(recall('p' .. ARGV[i]))
  epoch = max(epoch + 1, now_us) -- rules.next_epoch
  remember(ARGV[i], epoch, claimed, settled_below, last, passed)
  insert(taken, epoch)
  insert(taken, claimed)
  insert(taken, settled_below)
end
return taken
