-- Ledger.settle: moves frontiers on to the marks ARGV[2], under the seal ARGV[1].
-- Gives 0, or 1 closed, 2 fenced: then nothing is written.

if not stands(ARGV[1]) then
  return 1
end
-- What has been handled is written down when memory is out, too: it takes the place of what is
-- there. Redis refuses the first write of a script if it may need memory, and later ones never:
-- begin with one that needs none.
call('HDEL', meta, 'none')

local settled = mark(ARGV[2], function(p, offset)
  p.floor = max(p.floor, offset)
end)
return settled and 0 or 2
