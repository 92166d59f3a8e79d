#!lua
-- beat(batch): stores heartbeats, each on its own merits; none is merged with another.
--
-- KEYS  per partition of the batch: unobserved (int), todo (set), bell (channel);
--       then per beat: n (hash), h (list), ttl (string)
-- ARGV  partitions, heartbeat_timeout_ms, missed_after_ms, history, window, packed_at, max_lag_ms;
--       then per beat one line 'place session seq age_ms verdict jobs capacity relayed sid': the
--       partition's place in KEYS (1..), the last version relayed; behind the line, the report
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
-- The list of verdicts is cut when it is a few too long, not at every beat: who reads it cuts too.
local history_most = history + 4
local unobserved, unobserved_text = {}, {}
for p = 1, partitions do
  local total = redis.call('GET', KEYS[p * 3 - 2]) or '0'
  unobserved[p], unobserved_text[p] = num(total), total
end
local reply = { now, 'ok' }
local k = partitions * 3 + 1
for a = 8, #ARGV do
  local place, session, seq, age, verdict, jobs, capacity, relayed, sid, rest = string.match(ARGV[a],
    '^(%d+) (%d+) (%d+) (%d+) (%a) (%d+) (%d+) (%d+) ([^\n]*)\n()')
  local p, n = tonumber(place), KEYS[k]
  age, relayed = tonumber(age) + lag, tonumber(relayed)
  local r = redis.call('HMGET', n, 'sid', 'seq', 'st', 'ver', 'beat', 'bun', 'win', 'lv')
  local version = num(r[4])
  local outcome
  if not r[1] then
    outcome = 'missing'
  elseif r[1] ~= sid then
    outcome = num(redis.call('HGET', n, 'ses')) < tonumber(session) and 'older' or 'foreign'
  elseif r[3] == 'offline' then
    local silent = redis.call('HGET', n, 'rs') == 'heartbeat_timeout'
    outcome = silent and (age < timeout and 'silent' or 'too_old') or 'left'
  elseif age >= timeout then
    outcome = 'too_old'
  else
    if tonumber(seq) > num(r[2]) then
      local last = num(r[5])
      if last > now then last = now - age end
      local at = math.max(now - age, last)
      local at_text = int(at)
      local missed = (at - last) - (unobserved[p] - num(r[6])) > missed_after
      local former, h = r[7] or '', KEYS[k + 1]
      local window = former
      if missed then
        window = push(window, 'b', length)
        redis.call('LPUSH', h, at_text .. 'b')
      end
      window = push(window, verdict, length)
      if redis.call('LPUSH', h, at_text .. verdict) > history_most then
        redis.call('LTRIM', h, 0, history - 1)
      end
      redis.call('HSET', n, 'seq', seq, 'beat', at_text, 'rat', at_text, 'jobs', jobs, 'cap',
        capacity, 'rep', string.sub(ARGV[a], rest))
      -- What a healthy node's beat leaves as it was need not be written again.
      if r[6] ~= unobserved_text[p] then redis.call('HSET', n, 'bun', unobserved_text[p]) end
      if window ~= former then redis.call('HSET', n, 'win', window) end
      if missed or string.sub(former, 1, 1) ~= verdict then
        redis.call('HSET', n, 'lastv', verdict)
      end
      if verdict ~= 'P' then
        redis.call('HSET', n, 'lf', verdict)
      elseif missed then
        redis.call('HSET', n, 'lf', 'b')
      end
      redis.call('SET', KEYS[k + 2], '1', 'PX', timeout - (now - at))
      if r[3] ~= 'ready' or r[8] or verdict ~= 'P' or missed then
        mark(KEYS[p * 3 - 1], KEYS[p * 3], string.match(n, '}:n:(.*)$'))
      end
    end
    if version > relayed then outcome = 'tell' elseif version < relayed then outcome = 'lower' end
  end
  if outcome then
    local told = redis.call('HMGET', n, 'prev', 'rs', 'since')
    reply[#reply + 1] = { outcome, version, r[3] or '', told[1] or '', told[2] or '', num(told[3]) }
  else
    reply[#reply + 1] = 0
  end
  k = k + 3
end
return reply
