#!lua flags=no-writes
-- subjects(nodes): everything selection, lists and explanations see of some nodes, at one instant.
--
-- KEYS  per id: n (hash), intent (hash), ttl (string), holds (zset)
-- ARGV  1 report wanted '0'|'1'  2 registration and operator's words wanted '0'|'1'
--       3 only nodes with room '0'|'1'
-- Reply {now, row per id}; a row is 0 where there is no record (or, if asked, no room), else
--       {HMGET below, intent stamp, at, who, why, timeout, label stamp, ttl_ms, open holds,
--        report, registration, operator's labels}
--@include clock
--@include holds
local now = now_ms()
local reply = { now }
local with_room = ARGV[3] == '1'
local function full(k)
  local r = redis.call('HMGET', KEYS[k], 'cap', 'jobs', 'rat')
  local left = num(r[1]) - num(r[2])
  return left <= 0 or left <= open_holds(KEYS[k + 3], now, num(r[3]))
end
for k = 1, #KEYS, 4 do
  local r = not (with_room and full(k)) and redis.call('HMGET', KEYS[k], 'st', 'rs', 'since', 'beat', 'gw', 'ver', 'cap', 'jobs', 'pub',
    'lv', 'lvk', 'dig', 'gm', 'rat', 'caps')
  if not r or not r[1] then
    reply[#reply + 1] = 0
  else
    local i = redis.call('HMGET', KEYS[k + 1], 'stamp', 'at', 'who', 'why', 'timeout', 'lst', 'lab')
    local report = ARGV[1] == '1' and redis.call('HGET', KEYS[k], 'rep')
    local registration = ARGV[2] == '1' and redis.call('HGET', KEYS[k], 'reg')
    reply[#reply + 1] = {
      r, i[1] or '', i[2] or '', i[3] or '', i[4] or '', i[5] or '', i[6] or '',
      redis.call('PTTL', KEYS[k + 2]), open_holds(KEYS[k + 3], now, num(r[14])),
      report or '', registration or '', ARGV[2] == '1' and i[7] or '',
    }
  end
end
return reply
