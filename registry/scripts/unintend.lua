#!lua
-- unintend(node): the operator's drain ends; the sweeper decides what the node is now.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 todo (set)  4 bell (channel)  5 ev (stream)
-- ARGV  1 id  2 stamp of this act  3 who  4 why  5 events kept
-- Reply 1 ended (also when this act had ended it before), 0 there was none
--@include clock
--@include mark
--@include event
if redis.call('HDEL', KEYS[2], 'stamp', 'at', 'who', 'why', 'timeout', 'un') == 0 then
  return redis.call('HGET', KEYS[1], 'rst') == ARGV[2] and 1 or 0
end
local now = now_ms()
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'rst', ARGV[2], 'rsw', ARGV[3], 'rsy', ARGV[4], 'rsa', int(now))
  mark(KEYS[3], KEYS[4], ARGV[1])
end
local capabilities = redis.call('HGET', KEYS[1], 'caps')
event(KEYS[5], ARGV[5], capabilities, capabilities, 'type', 'operator_resume', 'id', ARGV[1], 'who',
  ARGV[3], 'why', ARGV[4], 'at', int(now))
return 1
