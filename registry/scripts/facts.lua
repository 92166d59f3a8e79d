#!lua flags=no-writes
-- facts(partition, ids): everything a sweeper judges by, at one instant.
--
-- KEYS  unobserved, due, then per id: n (hash), intent (hash), ttl (string), holds (zset)
-- ARGV  the ids
-- Reply {now, unobserved, row per id}; a row is the HMGET below followed by
--       {ttl_ms, open holds, due, intent stamp, at, timeout, unobserved, who, why},
--       or 0 where there is no record.
--@include clock
--@include holds
local now = now_ms()
local reply = { now, num(redis.call('GET', KEYS[1])) }
for i, id in ipairs(ARGV) do
  local k = 3 + (i - 1) * 4
  local row = redis.call('HMGET', KEYS[k], 'sid', 'ver', 'st', 'rs', 'since', 'gw', 'dig', 'caps',
    'win', 'lf', 'ever', 'was', 'beat', 'bun', 'wu', 'wun', 'jobs', 'rat', 'lv', 'lva', 'lvk', 'lvd',
    'lvt', 'lvu', 'flaps', 'dega', 'lastv', 'lvb', 'lvw', 'rsw', 'rsy', 'rsa')
  if not row[1] then
    reply[#reply + 1] = 0
  else
    local intent = redis.call('HMGET', KEYS[k + 1], 'stamp', 'at', 'timeout', 'un', 'who', 'why')
    reply[#reply + 1] = {
      row,
      {
        redis.call('PTTL', KEYS[k + 2]),
        open_holds(KEYS[k + 3], now, num(row[18])),
        num(redis.call('ZSCORE', KEYS[2], id)),
        intent[1] or '', num(intent[2]), num(intent[3]), num(intent[4]),
        intent[5] or '', intent[6] or '',
      },
    }
  end
end
return reply
