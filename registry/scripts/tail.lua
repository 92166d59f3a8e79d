#!lua flags=no-writes
-- tail(partitions): the events behind a place of each partition's stream.
--
-- KEYS  per partition: ev (stream)
-- ARGV  1 how many of each at most  2 look at every place '0'|'1'; then per partition: the place, the
--       id of the last event read ('0-0' = none)
-- Reply per partition {1, {{id, {field, value, ...}}, ...}}, or {0, first id, last id, trimmed 0|1}
--       where the place is not there: what came after it, or before it, may be lost
--
-- A place is looked at where something came behind it, and everywhere if asked to: a stream that lost
-- its end may not have come as far again.
--@include extent
local reply, wanted, place_of = {}, { 'XREAD', 'COUNT', ARGV[1], 'STREAMS' }, {}
for i = 1, #KEYS do
  wanted[4 + i] = KEYS[i]
  wanted[4 + #KEYS + i] = ARGV[2 + i]
  place_of[KEYS[i]] = i
end
local found = {}
for _, stream in ipairs(redis.call(unpack(wanted)) or {}) do found[place_of[stream[1]]] = stream[2] end
local function is_there(key, place)
  if place == '0-0' then return not extent(key).trimmed end
  return #redis.call('XRANGE', key, place, place) > 0
end
for i = 1, #KEYS do
  local place = ARGV[2 + i]
  if (found[i] or ARGV[2] == '1') and not is_there(KEYS[i], place) then
    local is = extent(KEYS[i])
    reply[i] = { 0, is.first, is.last, is.trimmed and 1 or 0 }
  else
    reply[i] = { 1, found[i] or {} }
  end
end
return reply
