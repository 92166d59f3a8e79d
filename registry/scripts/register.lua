#!lua
-- register(node): writes an admitted registration, if the store still is as the caller saw it.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 h (list)  4 ttl (string)  5 due (zset)  6 todo (set)
--       7 ev (stream)  8 roll (zset)  9 unobserved (int)  10 counts (hash)  11 bell (channel)
--       12 the former gateway's channel  13 names (set)
--       14.. ready sets of the former capabilities, then of the new ones
-- ARGV  1 id  2 expected sid ('' = the id must be free)  3 expected digest  4 kind (register, resume,
--       revive, restore)  5 sid  6 gateway  7 registration  8 digest  9 capabilities (one a line)
--       10 hardware digest  11 public  12 capacity  13 boot_id  14 attempt  15 address
--       16 takeovers  17 token shown  18 floor session  19 floor version  20 window (restore)
--       21 intent the gateway was told (restore)  22 packed_at  23 max_lag_ms  24 limits
--       25 age_ms  26 former ready sets  27 events kept  28 drain timeout ms  29 history
--       30 memory of the largest GPU, GiB  31 expected label stamp: digest and capabilities are made
--       with these labels
-- Reply {'ok', session, version, status, reason, since, resumed 0|1, intent, now}, {'stale', what}
--       or {'retime', now}
--
-- Idempotent by its fence: once it ran, the expected sid no longer holds and the caller finds its
-- own sid there.
--@include clock
--@include alarm
--@include mark
--@include index
--@include count
--@include event
local id, sid, kind = ARGV[1], ARGV[5], ARGV[4]
local n, intent_key = KEYS[1], KEYS[2]
local now = now_ms()
if ran_late(now, tonumber(ARGV[22]), tonumber(ARGV[23])) then return { 'retime', now } end
local age = tonumber(ARGV[25]) + math.max(0, now - tonumber(ARGV[22]))
local timeout = tonumber(string.match(ARGV[24], '^%d+'))
if age >= timeout then return { 'stale', 'age' } end
local r = redis.call('HMGET', n, 'sid', 'dig', 'st', 'ses', 'ver', 'hw', 'lv', 'since', 'gw', 'rs', 'ever',
  'caps')
if (r[1] or '') ~= ARGV[2] then return { 'stale', 'sid' } end
if r[1] and (r[2] or '') ~= ARGV[3] then return { 'stale', 'digest' } end
local i = redis.call('HMGET', intent_key, 'stamp', 'lst')
if (i[2] or '') ~= ARGV[31] then return { 'stale', 'labels' } end
-- A beat revives only who fell silent: an operator may have removed the node meanwhile.
if kind == 'revive' and r[10] ~= 'heartbeat_timeout' then return { 'stale', 'left' } end
local stamp = i[1]
local unobserved = num(redis.call('GET', KEYS[9]))
if not stamp and kind == 'restore' and ARGV[21] ~= '' then
  stamp = ARGV[21]
  redis.call('HSET', intent_key, 'stamp', stamp, 'at', int(now), 'who', 'restored', 'why',
    'told to the node before the store lost it', 'timeout', ARGV[28], 'un', int(unobserved))
end
local session = math.max(num(r[4]) + 1, tonumber(ARGV[18]) + 1, now)
local version, status, reason, since = num(r[5]), r[3] or '', r[10] or '', num(r[8])
local was_ready = status == 'ready' and not stamp and not r[7]
local resumed = kind == 'resume' and r[1] and status ~= 'offline' and not r[7] and r[6] == ARGV[10]
local at = now - age
local first_new = 14 + tonumber(ARGV[26])
redis.call('HSET', n, 'sid', sid, 'ses', int(session), 'gw', ARGV[6], 'reg', ARGV[7], 'dig', ARGV[8],
  'caps', ARGV[9], 'hw', ARGV[10], 'pub', ARGV[11], 'cap', ARGV[12], 'boot', ARGV[13], 'att', ARGV[14],
  'addr', ARGV[15], 'tko', ARGV[16], 'gm', ARGV[30], 'seq', '0', 'beat', int(at), 'bun', int(unobserved))
redis.call('HDEL', n, 'closed')
if ARGV[17] == '1' then redis.call('HSET', n, 'tok', '1') end
leave_index(KEYS, 14, first_new - 1, id)
if resumed then
  if was_ready then join_index(KEYS, first_new, #KEYS, id, KEYS[13], ARGV[9]) end
else
  local previous = status
  status = stamp and 'draining' or 'registering'
  reason = stamp and 'operator' or 'registered'
  version = math.max(version + 1, tonumber(ARGV[19]) + 1, now)
  since = now
  local window = kind == 'restore' and ARGV[20] or ''
  redis.call('HSET', n, 'st', status, 'rs', reason, 'since', int(now), 'ver', int(version), 'prev',
    previous, 'win', window, 'wu', int(at), 'wun', int(unobserved), 'ever', '0', 'was', '0', 'jobs', '0',
    'rat', '0')
  redis.call('HDEL', n, 'lv', 'lvk', 'lva', 'lvd', 'lvt', 'lvu', 'lvb', 'lvw', 'lf', 'lastv', 'jf')
  if kind == 'restore' then
    for i = #window, 1, -1 do redis.call('LPUSH', KEYS[3], int(at) .. string.sub(window, i, i)) end
    redis.call('LTRIM', KEYS[3], 0, tonumber(ARGV[29]) - 1)
    if window ~= '' then redis.call('HSET', n, 'lastv', string.sub(window, 1, 1)) end
    mark(KEYS[6], KEYS[11], id)
  end
  count(KEYS[10], counted(previous, r[10]), status)
end
redis.call('SET', KEYS[4], '1', 'PX', int(timeout - age))
redis.call('ZADD', KEYS[8], 0, id)
redis.call('ZADD', KEYS[5], int(alarm(n, intent_key, unobserved, ARGV[24], now)), id)
local type = kind
if kind == 'resume' and not resumed then type = 'register' end
event(KEYS[7], ARGV[27], ARGV[9], r[1] and r[12] or ARGV[9], 'type', type, 'id', id, 'from', r[3] or '',
  'to', status, 'reason', reason, 'version', int(version), 'sid', sid, 'at', int(now), 'gateway', ARGV[6],
  'address', ARGV[15], 'boot_id', ARGV[13])
if r[1] and r[1] ~= sid and r[9] then
  redis.call('SPUBLISH', KEYS[12], cjson.encode({ t = 'superseded', id = id, sid = r[1] }))
end
return { 'ok', session, version, status, reason, since, resumed and 1 or 0, stamp or '', now }
