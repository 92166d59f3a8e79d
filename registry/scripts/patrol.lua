#!lua
-- patrol(partitions) : one sweeper's second in its partitions: lease, observed time, what waits.
--
-- KEYS  per partition: lease (string, owner), swept (string 'ms run_id'), unobserved (int, ms),
--       todo (set of ids), due (zset id -> ms)
-- ARGV  owner, lease_ms, observe '0'|'1', gap_ms, limit, ask_run_id '0'|'1'
-- Reply {now, run_id, {held, unobserved, swept, next_due, {marked}, {due}, unobserved just added} per partition}
--
-- Idempotent but for SPOP; a popped id's alarm is set 5 s ahead first, so a sweeper that dies with
-- it loses nothing. Written as a write script so that it is refused whenever beats would be.
--@include clock
--@include run
-- A clock that stepped back is another's: every alarm, and every key, was set by one ahead.
local function ring_all(due, now)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '(' .. int(now), '+inf')) do
    redis.call('ZADD', due, int(now), id)
  end
end
local owner, lease_ms, observe = ARGV[1], ARGV[2], ARGV[3] == '1'
local gap_ms, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local run_id = ARGV[6] == '1' and this_run() or ''
local reply = { now, run_id }
for i = 1, #KEYS, 5 do
  local lease, swept, unobserved, todo, due =
    KEYS[i], KEYS[i + 1], KEYS[i + 2], KEYS[i + 3], KEYS[i + 4]
  local holder = redis.call('GET', lease)
  if holder and holder ~= owner then
    reply[#reply + 1] = { 0, 0, 0, 0, {}, {}, 0 }
  else
    redis.call('SET', lease, owner, 'PX', lease_ms)
    local seen, added = redis.call('GET', swept), 0
    if observe then
      local at, run = string.match(seen or '', '^(%d+) (%w*)$')
      if at then
        local gap = now - tonumber(at)
        if gap > gap_ms or gap < 0 or run ~= run_id then
          redis.call('INCRBY', unobserved, int(gap))
          added = gap
        end
        if gap < 0 then ring_all(due, now) end
      end
      redis.call('SET', swept, int(now) .. ' ' .. run_id)
    end
    local marked = {}
    if limit > 0 then
      marked = redis.call('SPOP', todo, limit)
      for _, id in ipairs(marked) do redis.call('ZADD', due, 'LT', int(now + 5000), id) end
    end
    local rings = redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', 0, math.max(limit, 1))
    local first = redis.call('ZRANGEBYSCORE', due, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    reply[#reply + 1] = {
      1, num(redis.call('GET', unobserved)), num(string.match(seen or '', '^%d+')),
      num(first[2]), marked, rings, added,
    }
  end
end
return reply
