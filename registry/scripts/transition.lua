#!lua
-- transition(node): commits a sweeper's judgement, only if everything it rests on still holds;
-- else the node is marked to be judged again.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 ttl (string)  4 holds (zset)  5 due (zset)  6 todo (set)
--       7 ev (stream)  8 unobserved (int)  9 counts (hash)  10 the gateway's channel
--       11 bell (channel)  12 names (set)  13.. ready sets
-- ARGV  1 id  2 sid  3 version  4 from  5 intent stamp  6 leave stamp  7 digest  8 window
--       9 to  10 reason  11 resets window '0'|'1'  12 silence_ms (0 = not by silence)
--       13 drained '0'|'1'  14 reported_at  15 starts warm-up '0'|'1'  16 evidence  17 limits
--       18 events kept  19 flap_window_ms
--       of a judgement by the time that passed also: 20 when the sweeper looked here last, ms
--       (0 = not told)  21 at which run of the server ('' = not known)  22 gap_ms
--       23 the unobserved time it was judged by, ms
-- Reply {'ok', version, since, now} or {'stale', what}
--@include clock
--@include run
--@include alarm
--@include mark
--@include index
--@include count
--@include tell
--@include holds
--@include event
local id, sid, from, to, reason = ARGV[1], ARGV[2], ARGV[4], ARGV[9], ARGV[10]
local n, now = KEYS[1], now_ms()
local r = redis.call('HMGET', n, 'sid', 'ver', 'st', 'lv', 'dig', 'win', 'beat', 'bun', 'rat', 'caps',
  'dega', 'flaps', 'since', 'rs')
local function stale(what)
  if r[1] then mark(KEYS[6], KEYS[11], id) end
  return { 'stale', what }
end
if r[1] ~= sid then return stale('sid') end
if r[2] ~= ARGV[3] then return stale('version') end
if r[3] ~= from then return stale('status') end
if (redis.call('HGET', KEYS[2], 'stamp') or '') ~= ARGV[5] then return stale('intent') end
if (r[4] or '') ~= ARGV[6] then return stale('leave') end
if (r[5] or '') ~= ARGV[7] then return stale('digest') end
if (r[6] or '') ~= ARGV[8] then return stale('window') end
local unobserved = num(redis.call('GET', KEYS[8]))
local looked, run = num(ARGV[20]), ARGV[21]
if looked > 0 then
  -- What passed since that look, or on the way to this server, is not yet written down as unobserved;
  -- or it was since the facts were read.
  if math.abs(now - looked) > tonumber(ARGV[22]) then return stale('look') end
  if run ~= '' and run ~= this_run() then return stale('run') end
  if unobserved ~= tonumber(ARGV[23]) then return stale('unobserved') end
end
local silence = tonumber(ARGV[12])
if silence > 0 then
  local left = redis.call('PTTL', KEYS[3])
  local timeout = tonumber(string.match(ARGV[17], '^%d+'))
  if left > 0 and left <= timeout then return stale('live') end
  if now - num(r[7]) - (unobserved - num(r[8])) < silence then return stale('silence') end
end
if ARGV[13] == '1' then
  if open_holds(KEYS[4], now, num(r[9])) > 0 then return stale('holds') end
  if num(r[9]) ~= tonumber(ARGV[14]) then return stale('report') end
end
local version = math.max(num(r[2]) + 1, now)
local since = from == to and num(r[13]) or now
redis.call('HSET', n, 'st', to, 'rs', reason, 'ver', int(version), 'since', int(since), 'prev', from)
if ARGV[11] == '1' then redis.call('HSET', n, 'win', '') end
if ARGV[15] == '1' then redis.call('HSET', n, 'wu', int(now), 'wun', int(unobserved)) end
if from == 'ready' then leave_index(KEYS, 13, #KEYS, id) end
if to == 'ready' then
  redis.call('HSET', n, 'ever', '1', 'was', '1')
  join_index(KEYS, 13, #KEYS, id, KEYS[12], r[10])
elseif to == 'degraded' and from ~= 'draining' then
  local flaps = now - num(r[11]) > tonumber(ARGV[19]) and 1 or num(r[12]) + 1
  redis.call('HSET', n, 'dega', int(now), 'flaps', int(flaps))
elseif to == 'offline' then
  redis.call('DEL', KEYS[3])
  if reason == 'removed' then redis.call('DEL', KEYS[4]) end
end
count(KEYS[9], counted(from, r[14]), counted(to, reason))
redis.call('ZADD', KEYS[5], int(math.max(alarm(n, KEYS[2], unobserved, ARGV[17], now), now + 50)), id)
event(KEYS[7], ARGV[18], r[10], r[10], 'type', 'transition', 'id', id, 'from', from, 'to', to, 'reason',
  reason, 'version', int(version), 'sid', sid, 'at', int(now), 'evidence', ARGV[16])
tell(KEYS[10], id, sid, version, to, from, reason, since, now)
-- Into a drain that has nothing to wait for, or out of one in which the node became healthy: the next
-- decision is called for now, and no beat or alarm need come first.
if (from == 'draining') ~= (to == 'draining') and to ~= 'offline' then mark(KEYS[6], KEYS[11], id) end
return { 'ok', version, since, now }
