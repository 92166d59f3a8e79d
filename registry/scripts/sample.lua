#!lua flags=no-writes
-- sample(indexes): ids of ready nodes that are in all the indexes, partition by partition.
--
-- KEYS  per partition: the ready set of each index
-- ARGV  1 indexes per partition  2 how many per partition (0 = all, exactly)  3 how many are enough
-- Reply {partitions visited, 1 if nobody was left out there, id, ...}; it stops visiting once it has
--       enough
--
-- A sample is drawn from the smallest set and looked up in the others, so that it costs the same
-- however large the fleet is; it may miss what only an exact intersection finds.
local each, most, enough = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reply = { 0, 1 }
local function drawn(first)
  local smallest, size
  for j = first, first + each - 1 do
    local n = redis.call('SCARD', KEYS[j])
    if n == 0 then return {} end
    if not size or n < size then smallest, size = j, n end
  end
  if size > most then reply[2] = 0 end
  local ids = redis.call('SRANDMEMBER', KEYS[smallest], most)
  for j = first, first + each - 1 do
    if j ~= smallest and #ids > 0 then
      local kept = {}
      for place, is in ipairs(redis.call('SMISMEMBER', KEYS[j], unpack(ids))) do
        if is == 1 then kept[#kept + 1] = ids[place] end
      end
      ids = kept
    end
  end
  return ids
end
for i = 1, #KEYS, each do
  if #reply - 2 >= enough then break end
  reply[1] = reply[1] + 1
  local ids
  if most > 0 then
    ids = drawn(i)
  elseif each == 1 then
    ids = redis.call('SMEMBERS', KEYS[i])
  else
    local sets = {}
    for j = i, i + each - 1 do sets[#sets + 1] = KEYS[j] end
    ids = redis.call('SINTER', unpack(sets))
  end
  for _, id in ipairs(ids) do reply[#reply + 1] = id end
end
return reply
