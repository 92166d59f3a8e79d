-- Moves one node from one status to another in the partition's counts.
local function count(counts_key, from, to)
  if from ~= '' then redis.call('HINCRBY', counts_key, from, -1) end
  if to ~= '' then redis.call('HINCRBY', counts_key, to, 1) end
end
