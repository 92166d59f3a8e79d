#!lua
-- remove(node): an operator takes a node away, whatever it runs. It leaves the ready indexes at once
-- and the sweeper words it; one that is offline has nobody to word it and is worded here. The record
-- stays until its retention is over, so that no late beat brings the node back.
--
-- KEYS  1 n (hash)  2 holds (zset)  3 due (zset)  4 todo (set)  5 bell (channel)  6 ev (stream)
--       7 unobserved (int)  8 counts (hash)  9 the gateway's channel  10.. ready sets
-- ARGV  1 id  2 expected digest  3 leave stamp  4 who  5 why  6 retention_ms  7 events kept
-- Reply 1 noted (also when it had been before), 0 stale: look again
--@include clock
--@include mark
--@include index
--@include count
--@include removed
--@include tell
local id, n = ARGV[1], KEYS[1]
local r = redis.call('HMGET', n, 'dig', 'st', 'rs', 'lvk', 'lv', 'ver', 'sid')
if r[5] == ARGV[3] then return 1 end
if r[1] ~= ARGV[2] or removed(r[2], r[3], r[4]) then return 0 end
local now = now_ms()
redis.call('HSET', n, 'lv', ARGV[3], 'lvk', 'remove', 'lva', int(now), 'lvd', '0', 'lvt', '0', 'lvu',
  int(num(redis.call('GET', KEYS[7]))), 'lvb', ARGV[4], 'lvw', ARGV[5])
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[7], '*', 'type', 'operator_remove', 'id', id, 'who',
  ARGV[4], 'why', ARGV[5], 'at', int(now))
leave_index(KEYS, 10, #KEYS, id)
if r[2] ~= 'offline' then
  mark(KEYS[4], KEYS[5], id)
  return 1
end
local version = math.max(num(r[6]) + 1, now)
redis.call('HSET', n, 'rs', 'removed', 'ver', int(version), 'since', int(now), 'prev', 'offline')
redis.call('DEL', KEYS[2])
redis.call('ZADD', KEYS[3], int(now + tonumber(ARGV[6])), id)
count(KEYS[8], 'offline', '')
tell(KEYS[9], id, r[7], version, 'offline', 'offline', 'removed', now, now)
return 1
