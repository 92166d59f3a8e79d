#!lua
-- unhold(node): a hold ends before its time; a node that drains is looked at anew.
-- KEYS  1 n (hash)  2 holds (zset)  3 todo (set)  4 bell (channel)    ARGV  1 id  2 hold id
-- Reply 1 ended, 0 it was not there
--@include mark
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 then return 0 end
if redis.call('HGET', KEYS[1], 'st') == 'draining' then mark(KEYS[3], KEYS[4], ARGV[1]) end
return 1
