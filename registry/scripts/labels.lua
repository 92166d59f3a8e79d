#!lua
-- labels(node): an operator's labels, kept beside the record so that they outlive it. With them
-- changes what the node can be asked for, and its index places.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 names (set)  4 ev (stream)
--       5.. ready sets it no longer belongs into, then those it does now
-- ARGV  1 id  2 expected digest  3 expected label stamp ('' = no labels)  4 expected registration
--       5 label stamp  6 labels (MessagePack; '' = none)  7 digest  8 capabilities (one a line)
--       9 sets it no longer belongs into  10 who  11 why  12 changes (JSON)  13 events kept
-- Reply 1 written, 0 stale: look again. Sent twice it is stale, and whoever looks finds it written.
--
-- A label of the node's own may be hidden under the operator's and yet change: digests do not tell,
-- so the registration itself is compared.
--@include clock
--@include index
--@include removed
local id, n, intent = ARGV[1], KEYS[1], KEYS[2]
local r = redis.call('HMGET', n, 'dig', 'reg', 'st', 'rs', 'lv', 'lvk')
local i = redis.call('HMGET', intent, 'stamp', 'lst')
if r[1] ~= ARGV[2] or r[2] ~= ARGV[4] or removed(r[3], r[4], r[6]) then return 0 end
if (i[2] or '') ~= ARGV[3] then return 0 end
local now = now_ms()
if ARGV[6] == '' then
  redis.call('HDEL', intent, 'lab', 'lst', 'lwho', 'lwhy', 'lat')
else
  redis.call('HSET', intent, 'lab', ARGV[6], 'lst', ARGV[5], 'lwho', ARGV[10], 'lwhy', ARGV[11], 'lat',
    int(now))
end
redis.call('HSET', n, 'dig', ARGV[7], 'caps', ARGV[8])
local first_new = 5 + tonumber(ARGV[9])
leave_index(KEYS, 5, first_new - 1, id)
if r[3] == 'ready' and not r[5] and not i[1] then
  join_index(KEYS, first_new, #KEYS, id, KEYS[3], ARGV[8])
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[13], '*', 'type', 'operator_labels', 'id', id, 'who',
  ARGV[10], 'why', ARGV[11], 'at', int(now), 'labels', ARGV[12])
return 1
