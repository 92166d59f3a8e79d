#!lua
-- closed(node): its socket is known closed. A late close of an old socket changes nothing.
-- KEYS  n (hash)    ARGV  sid    Reply 1 noted, 0 another session holds the record
if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'closed', '1')
return 1
