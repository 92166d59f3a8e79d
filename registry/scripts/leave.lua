#!lua
-- leave(node): asked to be taken off, by its node (unregister) or an operator (remove): out of the
-- ready indexes at once; the sweeper words it.
--
-- KEYS  1 n (hash)  2 todo (set)  3 bell (channel)  4 unobserved (int)  5.. ready sets
-- ARGV  1 id  2 sid ('' = whoever holds it)  3 expected digest  4 kind  5 drain '0'|'1'
--       6 drain_timeout_ms  7 who and why
-- Reply 1 noted, 0 stale or already offline
--@include clock
--@include mark
--@include index
local n, now = KEYS[1], now_ms()
local r = redis.call('HMGET', n, 'sid', 'dig', 'st', 'lv', 'lvk')
if not r[1] or (ARGV[2] ~= '' and r[1] ~= ARGV[2]) or r[2] ~= ARGV[3] or r[3] == 'offline' then return 0 end
if r[5] ~= 'remove' and not (r[5] == ARGV[4] and r[4]) then
  redis.call('HSET', n, 'lv', ARGV[4] .. ' ' .. int(now), 'lvk', ARGV[4], 'lva', int(now), 'lvd', ARGV[5],
    'lvt', ARGV[6], 'lvu', int(num(redis.call('GET', KEYS[4]))), 'lvw', ARGV[7])
elseif ARGV[5] == '0' then
  redis.call('HSET', n, 'lvd', '0', 'lv', ARGV[4] .. ' ' .. int(now))
end
leave_index(KEYS, 5, #KEYS, ARGV[1])
mark(KEYS[2], KEYS[3], ARGV[1])
return 1
