-- Ledger.void: nothing is delivered any more from the offset ARGV[2] up to the mark ARGV[1].
-- ARGV[3]: length of a generation in seconds
-- Gives 1, or 0 if a newer epoch exists: then nothing is written.

local number, epoch, stop = read('>I2I8I8', ARGV[1])
local start = tonumber(ARGV[2])
local packed, known = recall('generations', 'p' .. number)
local p = partition(known)
if epoch < p.epoch then
  return 0
end
add_gap(generations(packed), number, start, stop, tonumber(call('TIME')[1]), tonumber(ARGV[3]))
if start <= p.claimed and p.claimed < stop then
  p.claimed = stop
  remember(number, p)
end
return 1
