#!lua
-- expire(node): the record goes after its retention; operator's intent stays.
-- KEYS  1 n (hash)  2 h (list)  3 ttl (string)  4 holds (zset)  5 due (zset)  6 roll (zset)
--       7 ev (stream)  8 counts (hash)
-- ARGV  1 id  2 sid  3 version  4 retention_ms  5 events kept    Reply 1 gone, 0 stale
--@include clock
--@include count
local now = now_ms()
local r = redis.call('HMGET', KEYS[1], 'sid', 'ver', 'st', 'since', 'rs')
if r[1] ~= ARGV[2] or r[2] ~= ARGV[3] or r[3] ~= 'offline' then return 0 end
if now - num(r[4]) < tonumber(ARGV[4]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
count(KEYS[8], counted('offline', r[5]), '')
redis.call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[5], '*', 'type', 'expired', 'id', ARGV[1], 'from',
  'offline', 'to', '', 'reason', 'expired', 'sid', ARGV[2], 'at', int(now))
return 1
