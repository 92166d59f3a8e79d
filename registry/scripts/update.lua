#!lua
-- update(node): a beat changed what the node can do: new registration, new index places.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 names (set)  4 ev (stream)  5.. former ready sets, then new
-- ARGV  1 id  2 sid  3 expected digest  4 registration  5 digest  6 capabilities  7 public
--       8 capacity  9 former ready sets  10 events kept  11 memory of the largest GPU, GiB
--       12 expected label stamp: digest and capabilities are made with these labels
-- Reply 1 written (also when it had been before), 0 stale: look again
--@include clock
--@include index
local id, n = ARGV[1], KEYS[1]
local r = redis.call('HMGET', n, 'sid', 'dig', 'st', 'lv')
local i = redis.call('HMGET', KEYS[2], 'stamp', 'lst')
if r[1] ~= ARGV[2] or (i[2] or '') ~= ARGV[12] then return 0 end
if r[2] ~= ARGV[3] then return r[2] == ARGV[5] and 1 or 0 end
redis.call('HSET', n, 'reg', ARGV[4], 'dig', ARGV[5], 'caps', ARGV[6], 'pub', ARGV[7], 'cap', ARGV[8],
  'gm', ARGV[11])
local first_new = 5 + tonumber(ARGV[9])
if ARGV[3] ~= ARGV[5] then
  leave_index(KEYS, 5, first_new - 1, id)
  if r[3] == 'ready' and not r[4] and not i[1] then
    join_index(KEYS, first_new, #KEYS, id, KEYS[3], ARGV[6])
  end
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[10], '*', 'type', 'update', 'id', id, 'from', r[3],
    'to', r[3], 'reason', 'capabilities', 'sid', ARGV[2], 'at', int(now_ms()))
end
return 1
