-- Moves one node from one status to another in the partition's counts. One that an operator removed
-- is counted nowhere.
local function counted(status, reason)
  return status == 'offline' and reason == 'removed' and '' or status
end
local function count(counts_key, from, to)
  if from == to then return end
  if from ~= '' then redis.call('HINCRBY', counts_key, from, -1) end
  if to ~= '' then redis.call('HINCRBY', counts_key, to, 1) end
end
