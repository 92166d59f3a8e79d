#!lua
-- job(node): a task finished: ends its hold, counts a failure (one per interval), asks for a check.
-- Never refreshes liveness.
--
-- KEYS  1 n (hash)  2 h (list)  3 holds (zset)  4 todo (set)  5 bell (channel)
-- ARGV  1 id  2 sid  3 failed '0'|'1'  4 running jobs ('' = not said)  5 interval_ms  6 window
--       7 history  8.. ids of holds that end
-- Reply 1 noted, 0 another session holds the record or the node is offline
--@include clock
--@include mark
--@include window
local n, now = KEYS[1], now_ms()
local r = redis.call('HMGET', n, 'sid', 'st', 'win', 'jf')
if r[1] ~= ARGV[2] or r[2] == 'offline' then return 0 end
for i = 8, #ARGV do redis.call('ZREM', KEYS[3], ARGV[i]) end
if ARGV[4] ~= '' then redis.call('HSET', n, 'jobs', ARGV[4], 'rat', int(now)) end
if ARGV[3] == '1' and now - num(r[4]) >= tonumber(ARGV[5]) then
  redis.call('HSET', n, 'jf', int(now), 'lf', 'j', 'win', push(r[3], 'j', tonumber(ARGV[6])))
  redis.call('LPUSH', KEYS[2], int(now) .. 'j')
  redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[7]) - 1)
end
mark(KEYS[4], KEYS[5], ARGV[1])
return 1
