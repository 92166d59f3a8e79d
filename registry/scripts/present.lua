#!lua
-- present(who): notes a living process in a roll of its kind, and reads that roll.
-- KEYS  roll (zset id -> last seen)
-- ARGV  id ('' = only read), forget_ms, packed_at ('' = whenever it runs), max_lag_ms
-- Reply {now, id, last seen, ...}
--
-- Who packed this long ago may have stood still since, and may not live any more.
--@include clock
local now = now_ms()
local late = ARGV[3] ~= '' and ran_late(now, tonumber(ARGV[3]), tonumber(ARGV[4]))
if ARGV[1] ~= '' and not late then
  redis.call('ZADD', KEYS[1], int(now), ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - tonumber(ARGV[2])))
end
local reply = { now }
for _, value in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')) do
  reply[#reply + 1] = value
end
return reply
