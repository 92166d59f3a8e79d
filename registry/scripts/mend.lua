#!lua
-- mend(node): the store's version is below what the node was told: a failover lost a transition.
-- Restores the intent the gateway knows of and takes a version above everything told.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 todo (set)  4 bell (channel)  5 unobserved (int)
--       6 ev (stream)  7.. ready sets
-- ARGV  1 id  2 sid  3 expected digest  4 relayed version  5 intent stamp ('' = none known)
--       6 drain_timeout_ms  7 events kept
-- Reply {version, status, previous, reason, since} or 0 stale
--@include clock
--@include mark
--@include index
--@include event
local n, now = KEYS[1], now_ms()
local r = redis.call('HMGET', n, 'sid', 'dig', 'ver', 'st', 'prev', 'rs', 'since', 'caps')
if r[1] ~= ARGV[2] or r[2] ~= ARGV[3] then return 0 end
local version = num(r[3])
if version < tonumber(ARGV[4]) then
  version = math.max(tonumber(ARGV[4]) + 1, now)
  redis.call('HSET', n, 'ver', int(version))
  if ARGV[5] ~= '' and redis.call('HEXISTS', KEYS[2], 'stamp') == 0 then
    redis.call('HSET', KEYS[2], 'stamp', ARGV[5], 'at', int(now), 'who', 'restored', 'why',
      'told to the node before the store lost it', 'timeout', ARGV[6], 'un',
      int(num(redis.call('GET', KEYS[5]))))
    leave_index(KEYS, 7, #KEYS, ARGV[1])
  end
  event(KEYS[6], ARGV[7], r[8], r[8], 'type', 'mend', 'id', ARGV[1], 'from', r[4], 'to', r[4],
    'reason', 'version_lost', 'version', int(version), 'sid', ARGV[2], 'at', int(now))
  mark(KEYS[3], KEYS[4], ARGV[1])
end
return { version, r[4], r[5] or '', r[6] or '', num(r[7]) }
