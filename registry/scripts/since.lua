#!lua flags=no-writes
-- since(partitions): the place of each partition's stream behind which stands what came at or after
-- an instant, as far back as it is kept.
-- KEYS  per partition: ev (stream)
-- ARGV  1 the last ms before the instant; '0-0' where all that is kept is meant
-- Reply ids; '0-0' where nothing came before. Where all that is kept came later, but not all is kept,
--       the first id that is: a place has to be there, so the very first event is left out
--@include extent
local reply = {}
for i, key in ipairs(KEYS) do
  local before = redis.call('XREVRANGE', key, ARGV[1], '-', 'COUNT', 1)[1]
  if before then
    reply[i] = before[1]
  else
    local is = extent(key)
    reply[i] = is.trimmed and is.first or '0-0'
  end
end
return reply
