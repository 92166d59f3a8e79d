#!lua
-- intend(node): an operator's drain, kept beside the record so that it outlives it. The node leaves
-- the ready indexes at once; the sweeper words it.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 todo (set)  4 bell (channel)  5 unobserved (int)  6 ready sets
-- ARGV  1 id  2 expected digest ('' = no record)  3 stamp  4 who  5 why  6 timeout_ms
-- Reply 1 noted, 0 stale: look again
--@include clock
--@include mark
--@include index
local now = now_ms()
local digest = redis.call('HGET', KEYS[1], 'dig')
if (digest or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'stamp', ARGV[3], 'at', int(now), 'who', ARGV[4], 'why', ARGV[5], 'timeout',
  ARGV[6], 'un', int(num(redis.call('GET', KEYS[5]))))
if digest then
  leave_index(KEYS, 6, #KEYS, ARGV[1])
  mark(KEYS[3], KEYS[4], ARGV[1])
end
return 1
