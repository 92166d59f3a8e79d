#!lua
-- unintend(node): the operator's drain ends; the sweeper decides what the node is now.
-- KEYS  1 n (hash)  2 intent (hash)  3 todo (set)  4 bell (channel)
-- ARGV  1 id    Reply 1 ended, 0 there was none
--@include mark
local had = redis.call('HDEL', KEYS[2], 'stamp', 'at', 'who', 'why', 'timeout', 'un') > 0
if redis.call('EXISTS', KEYS[1]) == 1 then mark(KEYS[3], KEYS[4], ARGV[1]) end
return had and 1 or 0
