#!lua
-- intend(node): an operator's drain, kept beside the record so that it outlives it. The node leaves
-- the ready indexes at once; the sweeper words it. A drain in force gets new words and a new time.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 todo (set)  4 bell (channel)  5 unobserved (int)
--       6 ev (stream)  7.. ready sets
-- ARGV  1 id  2 expected digest  3 stamp  4 who  5 why  6 timeout_ms  7 events kept
-- Reply 1 noted (also when it had been before), 0 stale: look again
--@include clock
--@include mark
--@include index
--@include removed
if redis.call('HGET', KEYS[2], 'stamp') == ARGV[3] then return 1 end
local r = redis.call('HMGET', KEYS[1], 'dig', 'st', 'rs', 'lvk')
if r[1] ~= ARGV[2] or removed(r[2], r[3], r[4]) then return 0 end
local now = now_ms()
redis.call('HSET', KEYS[2], 'stamp', ARGV[3], 'at', int(now), 'who', ARGV[4], 'why', ARGV[5], 'timeout',
  ARGV[6], 'un', int(num(redis.call('GET', KEYS[5]))))
redis.call('HDEL', KEYS[1], 'rsw', 'rsy', 'rsa')
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[7], '*', 'type', 'operator_drain', 'id', ARGV[1], 'who',
  ARGV[4], 'why', ARGV[5], 'at', int(now), 'timeout', ARGV[6])
leave_index(KEYS, 7, #KEYS, ARGV[1])
mark(KEYS[3], KEYS[4], ARGV[1])
return 1
