#!lua
-- beat(batch): stores heartbeats, each on its own merits; none is merged with another.
--
-- KEYS  per partition of the batch: unobserved (int), todo (set), bell (channel);
--       then per beat: n (hash), h (list), ttl (string)
-- ARGV  partitions, heartbeat_timeout_ms, missed_after_ms, history, window, packed_at, max_lag_ms;
--       then per beat: partition's place in KEYS (1..), node_id, sid, session, seq, age_ms, verdict,
--       jobs, capacity, relayed version, report
-- Reply {now, 'retime'} and nothing changed, or {now, 'ok', answer per beat}: 0 for nothing to say,
--       or {outcome, version, status, previous, reason, since}
--
-- A beat counts only for the sid that holds the record; a seq seen before changes nothing more; a
-- frame as old as the time-out changes nothing. TTL and last beat are those of the frame's arrival;
-- a last beat of the future is another clock's, of a store that failed over, and says nothing.
--@include clock
--@include mark
--@include window
local partitions, timeout, missed_after = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local history, length = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local lag = now - tonumber(ARGV[6])
if ran_late(now, tonumber(ARGV[6]), tonumber(ARGV[7])) then return { now, 'retime' } end
if lag < 0 then lag = 0 end
local unobserved = {}
for p = 1, partitions do unobserved[p] = num(redis.call('GET', KEYS[p * 3 - 2])) end
local reply = { now, 'ok' }
local k, a = partitions * 3 + 1, 8
while a <= #ARGV do
  local p, id, sid, session, seq = tonumber(ARGV[a]), ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3]),
    tonumber(ARGV[a + 4])
  local age, verdict, jobs, capacity = tonumber(ARGV[a + 5]) + lag, ARGV[a + 6], ARGV[a + 7], ARGV[a + 8]
  local relayed, report = tonumber(ARGV[a + 9]), ARGV[a + 10]
  local n, h, ttl = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local r = redis.call('HMGET', n, 'sid', 'seq', 'st', 'ver', 'beat', 'bun', 'win', 'ses', 'rs',
    'since', 'prev', 'lv')
  local outcome
  if not r[1] then
    outcome = 'missing'
  elseif r[1] ~= sid then
    outcome = num(r[8]) < session and 'older' or 'foreign'
  elseif r[3] == 'offline' then
    outcome = r[9] == 'heartbeat_timeout' and (age < timeout and 'silent' or 'too_old') or 'left'
  elseif age >= timeout then
    outcome = 'too_old'
  else
    if seq > num(r[2]) then
      local last = num(r[5])
      if last > now then last = now - age end
      local at = math.max(now - age, last)
      local missed = (at - last) - (unobserved[p] - num(r[6])) > missed_after
      local window = r[7] or ''
      if missed then
        window = push(window, 'b', length)
        redis.call('LPUSH', h, int(at) .. 'b')
      end
      window = push(window, verdict, length)
      redis.call('LPUSH', h, int(at) .. verdict)
      redis.call('LTRIM', h, 0, history - 1)
      redis.call('HSET', n, 'seq', ARGV[a + 4], 'beat', int(at), 'bun', int(unobserved[p]), 'win',
        window, 'lastv', verdict, 'jobs', jobs, 'cap', capacity, 'rat', int(at), 'rep', report)
      if verdict ~= 'P' then
        redis.call('HSET', n, 'lf', verdict)
      elseif missed then
        redis.call('HSET', n, 'lf', 'b')
      end
      redis.call('SET', ttl, '1', 'PX', int(timeout - (now - at)))
      if r[3] ~= 'ready' or r[12] or verdict ~= 'P' or missed then
        mark(KEYS[p * 3 - 1], KEYS[p * 3], id)
      end
    end
    local version = num(r[4])
    if version > relayed then outcome = 'tell' elseif version < relayed then outcome = 'lower' end
  end
  if outcome then
    reply[#reply + 1] = { outcome, num(r[4]), r[3] or '', r[11] or '', r[9] or '', num(r[10]) }
  else
    reply[#reply + 1] = 0
  end
  k, a = k + 3, a + 11
end
return reply
