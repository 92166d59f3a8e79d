#!lua
-- settle(request): notes the plan or the answer of a request, if this asker still works on it.
-- KEYS  the request (hash)    ARGV  1 token  2 'plan', 'answer' or 'drop'  3 value  4 lease_ms
-- Reply 1 noted, 0 another asker has it
--@include clock
local key = KEYS[1]
if redis.call('HGET', key, 'by') ~= ARGV[1] then return 0 end
if ARGV[2] == 'drop' then
  redis.call('DEL', key)
else
  redis.call('HSET', key, ARGV[2], ARGV[3], 'until', int(now_ms() + tonumber(ARGV[4])))
end
return 1
