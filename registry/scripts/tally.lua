#!lua flags=no-writes
-- tally(nodes): what an overview counts of some nodes, at one instant.
--
-- KEYS  per id: n (hash), intent (hash), ttl (string)
-- ARGV  1 heartbeat_timeout_ms
-- Reply three texts per id: status, with a '*' behind it if the node may be given work now;
--       capabilities, one a line; registration. Of an offline node the last two are empty, and all
--       are where there is no record or an operator took the node away
--@include removed
local timeout = tonumber(ARGV[1])
local reply = {}
local function available(k, status, leave)
  if status ~= 'ready' or leave or (redis.call('HGET', KEYS[k + 1], 'stamp') or '') ~= '' then
    return false
  end
  local left = redis.call('PTTL', KEYS[k + 2])
  return left > 0 and left <= timeout
end
for k = 1, #KEYS, 3 do
  local status, capabilities, registration = '', '', ''
  local r = redis.call('HMGET', KEYS[k], 'st', 'rs', 'lv', 'lvk')
  if r[1] and not removed(r[1], r[2], r[4]) then
    status = available(k, r[1], r[3]) and r[1] .. '*' or r[1]
    if status ~= 'offline' then
      local told = redis.call('HMGET', KEYS[k], 'caps', 'reg')
      capabilities, registration = told[1] or '', told[2] or ''
    end
  end
  reply[#reply + 1] = status
  reply[#reply + 1] = capabilities
  reply[#reply + 1] = registration
end
return reply
