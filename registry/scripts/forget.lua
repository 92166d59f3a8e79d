#!lua
-- forget(request): its answer is not given again, if it still is this one.
-- KEYS  the request (hash)    ARGV  the answer    Reply 1 forgotten, 0 there is another one or none
if redis.call('HGET', KEYS[1], 'answer') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
