#!lua
-- release(partitions, owner): gives leases back, but only one's own.
-- KEYS  lease per partition    ARGV  owner    Reply: how many were given back
local released = 0
for _, lease in ipairs(KEYS) do
  if redis.call('GET', lease) == ARGV[1] then
    redis.call('DEL', lease)
    released = released + 1
  end
end
return released
