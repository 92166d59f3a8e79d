#!lua
-- announce(gateway): what the gateway says of itself, gone unless repeated.
-- KEYS  the gateway's hash    ARGV  ttl_ms, field, value, ...    Reply 1
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
