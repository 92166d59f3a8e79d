#!lua
-- snooze(ids): an alarm rings once a time-out for every node, and of a healthy one it says
-- nothing: it is set on here, and nobody needs to read what the node is judged by. Healthy is: ready,
-- every verdict of its window passed, neither leaving nor wanted to drain, its key stands, and no
-- deadline of its record has come. Of anybody else the alarm keeps ringing until it was judged.
-- Unlike arm it does not see to the roll: the repair puts back whom a lost roll lacks. That it costs
-- nothing here matters: this runs for the whole fleet.
--
-- KEYS  per id: its partition's unobserved (int) and due (zset), n (hash), intent (hash), ttl (string)
-- ARGV  limits, then the ids
-- Reply {now, ms by which the latest of them rang too late, {the ids set on}}
--@include clock
--@include alarm
local now = now_ms()
local timeout = tonumber(string.match(ARGV[1], '^%d+'))
local late, asleep = 0, {}
for i = 2, #ARGV do
  local id, k = ARGV[i], i * 5 - 9
  local due, n, intent = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local r = redis.call('HMGET', n, 'st', 'win', 'lv')
  local well = r[1] == 'ready' and not r[3] and string.match(r[2] or '', '^P+$')
  if well and redis.call('HEXISTS', intent, 'stamp') == 0 then
    local left = redis.call('PTTL', KEYS[k + 4])
    local unobserved = num(redis.call('GET', KEYS[k]))
    local at = alarm(n, intent, unobserved, ARGV[1], now)
    if left > 0 and left <= timeout and at > now then
      late = math.max(late, now - num(redis.call('ZSCORE', due, id) or int(now)))
      redis.call('ZADD', due, int(math.max(at, now + 20)), id)
      asleep[#asleep + 1] = id
    end
  end
end
return { now, int(late), asleep }
