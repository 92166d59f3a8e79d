-- How far a partition's stream reaches: the ids of its first event and of the last one it ever made
-- ('0-0' = none), and whether its beginning was cut off.
local function extent(key)
  if redis.call('EXISTS', key) == 0 then return { first = '0-0', last = '0-0', trimmed = false } end
  local info, t = redis.call('XINFO', 'STREAM', key), {}
  for j = 1, #info, 2 do t[info[j]] = info[j + 1] end
  local first = t['first-entry'] and t['first-entry'][1] or '0-0'
  return { first = first, last = t['last-generated-id'], trimmed = t['entries-added'] > t['length'] }
end
