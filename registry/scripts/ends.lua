#!lua flags=no-writes
-- ends(partitions): the id of the last event of each partition's stream.
-- KEYS  per partition: ev (stream)    Reply ids; '0-0' where there is no event
local reply = {}
for i, key in ipairs(KEYS) do
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  reply[i] = last and last[1] or '0-0'
end
return reply
