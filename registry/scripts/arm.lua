#!lua
-- arm(node): sets its alarm to the least of the record's deadlines; forgets an id without a record.
-- A TTL key that outlives the time-out counts as gone (another clock set it): it goes, lest it seem
-- to stand again once that clock's lead is over.
-- KEYS  1 n (hash)  2 intent (hash)  3 unobserved (int)  4 due (zset)  5 roll (zset)  6 ttl (string)
-- ARGV  1 id  2 limits  3 earliest, ms from now    Reply the alarm, or 0 forgotten
--@include clock
--@include alarm
local now = now_ms()
local at = alarm(KEYS[1], KEYS[2], num(redis.call('GET', KEYS[3])), ARGV[2], now)
if not at then
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZREM', KEYS[5], ARGV[1])
  return 0
end
if redis.call('PTTL', KEYS[6]) > tonumber(string.match(ARGV[2], '^%d+')) then
  redis.call('DEL', KEYS[6])
end
at = math.max(at, now + math.max(tonumber(ARGV[3]), 20))
redis.call('ZADD', KEYS[4], int(at), ARGV[1])
redis.call('ZADD', KEYS[5], 0, ARGV[1])
return at
