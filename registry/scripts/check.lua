#!lua flags=no-writes
-- check(candidates): which of them may be given work at this instant, and how loaded they are.
-- KEYS  per candidate: n (hash), intent (hash), ttl (string), holds (zset)
-- ARGV  heartbeat_timeout_ms, public wanted '0'|'1', the capabilities, one a line
-- Reply per candidate: the reason it may not, or {load, capacity, age_ms, gateway}
--@include clock
local now, timeout = now_ms(), tonumber(ARGV[1])
local reply = {}
for k = 1, #KEYS, 4 do
  local r = redis.call('HMGET', KEYS[k], 'st', 'lv', 'pub', 'cap', 'jobs', 'beat', 'gw', 'caps')
  local left = redis.call('PTTL', KEYS[k + 2])
  local answer
  if r[1] ~= 'ready' or r[2] or redis.call('HEXISTS', KEYS[k + 1], 'stamp') == 1 then
    answer = 'status_not_ready'
  elseif left <= 0 or left > timeout then
    answer = 'not_live'
  elseif ARGV[2] == '1' and r[3] ~= '1' then
    answer = 'not_in_public_pool'
  else
    local has = '\n' .. (r[8] or '') .. '\n'
    for name in string.gmatch(ARGV[3], '[^\n]+') do
      if not string.find(has, '\n' .. name .. '\n', 1, true) then
        answer = string.sub(name, 1, 8) == 'feature:' and 'feature_not_available' or 'model_not_available'
      end
    end
    if not answer then
      local load = num(r[5]) + redis.call('ZCOUNT', KEYS[k + 3], '(' .. int(now), '+inf')
      if load >= num(r[4]) then
        answer = 'capacity_exceeded'
      else
        answer = { load, num(r[4]), now - num(r[6]), r[7] or '' }
      end
    end
  end
  reply[#reply + 1] = answer
end
return reply
