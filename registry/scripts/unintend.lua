#!lua
-- unintend(node): the operator's drain ends; the sweeper decides what the node is now. One that no
-- sweeper had called draining yet is ready still, and gets its index places back.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 todo (set)  4 bell (channel)  5 ev (stream)  6 names (set)
--       7.. ready sets
-- ARGV  1 id  2 expected digest ('' = no record)  3 stamp of this act  4 who  5 why  6 events kept
-- Reply 1 ended (also when this act had ended it before), 0 there was none, -1 stale: look again
--@include clock
--@include mark
--@include index
local id, n = ARGV[1], KEYS[1]
local r = redis.call('HMGET', n, 'dig', 'st', 'lv', 'caps', 'rst')
if redis.call('HEXISTS', KEYS[2], 'stamp') == 0 then return r[5] == ARGV[3] and 1 or 0 end
if (r[1] or '') ~= ARGV[2] then return -1 end
local now = now_ms()
redis.call('HDEL', KEYS[2], 'stamp', 'at', 'who', 'why', 'timeout', 'un')
if r[1] then
  redis.call('HSET', n, 'rst', ARGV[3], 'rsw', ARGV[4], 'rsy', ARGV[5], 'rsa', int(now))
  if r[2] == 'ready' and not r[3] then join_index(KEYS, 7, #KEYS, id, KEYS[6], r[4]) end
  mark(KEYS[3], KEYS[4], id)
end
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[6], '*', 'type', 'operator_resume', 'id', id, 'who',
  ARGV[4], 'why', ARGV[5], 'at', int(now))
return 1
