#!lua
-- reindex(node): puts one node's index places right, if it still is what the caller saw.
-- KEYS  1 n (hash)  2 intent (hash)  3 names (set)  4.. sets it must not be in, then its own
-- ARGV  1 id  2 sid  3 version  4 digest  5 how many it must not be in
-- Reply how many places changed, or -1 stale
local id = ARGV[1]
local r = redis.call('HMGET', KEYS[1], 'sid', 'ver', 'dig', 'st', 'lv', 'caps')
if (r[1] or '') ~= ARGV[2] or (r[2] or '') ~= ARGV[3] or (r[3] or '') ~= ARGV[4] then return -1 end
local changed = 0
local own = 4 + tonumber(ARGV[5])
for i = 4, own - 1 do changed = changed + redis.call('SREM', KEYS[i], id) end
local indexed = r[4] == 'ready' and not r[5] and redis.call('HEXISTS', KEYS[2], 'stamp') == 0
for i = own, #KEYS do
  changed = changed + redis.call(indexed and 'SADD' or 'SREM', KEYS[i], id)
end
if indexed then
  for name in string.gmatch(r[6] or '', '[^\n]+') do redis.call('SADD', KEYS[3], name) end
end
return changed
