#!lua
-- leave(node): a node asks to be taken off: out of the ready indexes at once; the sweeper words it.
-- What an operator removes is removed, whatever it asks for.
--
-- KEYS  1 n (hash)  2 todo (set)  3 bell (channel)  4 unobserved (int)  5.. ready sets
-- ARGV  1 id  2 sid  3 expected digest  4 drain '0'|'1'  5 drain_timeout_ms  6 why
-- Reply 1 noted, 0 stale or already offline
--@include clock
--@include mark
--@include index
local n, now = KEYS[1], now_ms()
local r = redis.call('HMGET', n, 'sid', 'dig', 'st', 'lvk')
if r[1] ~= ARGV[2] or r[2] ~= ARGV[3] or r[3] == 'offline' then return 0 end
if not r[4] then
  redis.call('HSET', n, 'lv', 'unregister ' .. int(now), 'lvk', 'unregister', 'lva', int(now), 'lvd',
    ARGV[4], 'lvt', ARGV[5], 'lvu', int(num(redis.call('GET', KEYS[4]))), 'lvb', '', 'lvw', ARGV[6])
elseif r[4] ~= 'remove' and ARGV[4] == '0' then
  redis.call('HSET', n, 'lvd', '0', 'lv', 'unregister ' .. int(now))
end
leave_index(KEYS, 5, #KEYS, ARGV[1])
mark(KEYS[2], KEYS[3], ARGV[1])
return 1
