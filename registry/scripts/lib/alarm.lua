-- The next instant at which time alone changes something for a node: the least of its deadlines.
-- `limits` is 'heartbeat_timeout warmup_timeout retention' in ms; clocks stop in unobserved time.
-- Silence is looked for a time-out from now at the latest: the next beat has seen the unobserved
-- time that this one has not, and sets no alarm.
local function alarm(node_key, intent_key, unobserved, limits, now)
  local timeout, warmup, retention = string.match(limits, '^(%d+) (%d+) (%d+)')
  local r = redis.call('HMGET', node_key, 'st', 'since', 'beat', 'bun', 'wu', 'wun', 'rs', 'lv',
    'lva', 'lvt', 'lvu')
  if not r[1] then return nil end
  if r[1] == 'offline' then return num(r[2]) + tonumber(retention) end
  local at = math.min(num(r[3]) + unobserved - num(r[4]), now) + tonumber(timeout) + 1
  if r[1] == 'registering' then
    at = math.min(at, num(r[5]) + tonumber(warmup) + unobserved - num(r[6]))
  elseif r[1] == 'draining' then
    if r[8] then at = math.min(at, num(r[9]) + num(r[10]) + unobserved - num(r[11])) end
    if r[7] ~= 'drained' and r[7] ~= 'drain_timeout' then
      local i = redis.call('HMGET', intent_key, 'stamp', 'at', 'timeout', 'un')
      if i[1] then at = math.min(at, num(i[2]) + num(i[3]) + unobserved - num(i[4])) end
    end
  end
  return at
end
