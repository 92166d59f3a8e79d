#!lua
-- begin(request): who works on a request that must be answered once, however often it is asked.
--
-- KEYS  the request (hash: by, until, print, plan, answer)
-- ARGV  1 token of this asker  2 fingerprint of what is asked  3 lease_ms  4 keep_ms
-- Reply {'other'} another request had this id; {'answer', it}; {'wait'} somebody works on it;
--       {'yours', plan} this asker does, and what a former one had set out to do
--@include clock
local key, now = KEYS[1], now_ms()
local r = redis.call('HMGET', key, 'by', 'until', 'print', 'plan', 'answer')
if r[1] and r[3] ~= ARGV[2] then return { 'other' } end
if r[5] then return { 'answer', r[5] } end
if r[1] and r[1] ~= ARGV[1] and num(r[2]) > now then return { 'wait' } end
redis.call('HSET', key, 'by', ARGV[1], 'until', int(now + tonumber(ARGV[3])), 'print', ARGV[2])
redis.call('PEXPIRE', key, ARGV[4])
return { 'yours', r[4] or '' }
