-- The beginning of Surgery.purge: breaks the seal, and forgets all but which generations there
-- were: whoever recovers the shard may find buckets of theirs, and must not take them for new ones.

local all = generations(recall('generations'))
call('DEL', meta)
call('HSET', meta, 'layout', LAYOUT, 'generations', pack(HEAD, all.next_id))
return 1
