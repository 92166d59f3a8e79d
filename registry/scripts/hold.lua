#!lua
-- hold(node): takes a place on a node for a job about to come, if the node may still be given work.
--
-- KEYS  1 n (hash)  2 intent (hash)  3 ttl (string)  4 holds (zset)
-- ARGV  1 hold id  2 hold_ms  3 expected digest  4 expected label stamp  5 heartbeat_timeout_ms
-- Reply {'ok', load before, capacity, age_ms, expires, gateway} or {'no', why}
--
-- Idempotent: a hold that is there already is answered as it stands and not made longer.
--@include clock
--@include holds
local now, timeout = now_ms(), tonumber(ARGV[5])
local r = redis.call('HMGET', KEYS[1], 'st', 'lv', 'dig', 'cap', 'jobs', 'beat', 'rat', 'gw')
local i = redis.call('HMGET', KEYS[2], 'stamp', 'lst')
if r[1] ~= 'ready' or r[2] or i[1] then return { 'no', 'status_not_ready' } end
local left = redis.call('PTTL', KEYS[3])
if left <= 0 or left > timeout then return { 'no', 'not_live' } end
if r[3] ~= ARGV[3] or (i[2] or '') ~= ARGV[4] then return { 'no', 'changed' } end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', int(holds_end(now, num(r[7]))))
local expires = tonumber(redis.call('ZSCORE', KEYS[4], ARGV[1]) or '0')
local load = num(r[5]) + redis.call('ZCARD', KEYS[4])
if expires > 0 then
  load = load - 1
else
  if load >= num(r[4]) then return { 'no', 'capacity_exceeded' } end
  expires = now + tonumber(ARGV[2])
  redis.call('ZADD', KEYS[4], int(expires), ARGV[1])
  -- Nobody may ever look at this node again: the key goes once a report must have ended every hold.
  local keep = expires - now + 2 * timeout
  if redis.call('PTTL', KEYS[4]) < keep then redis.call('PEXPIRE', KEYS[4], int(keep)) end
end
return { 'ok', load, num(r[4]), now - num(r[6]), expires, r[8] or '' }
