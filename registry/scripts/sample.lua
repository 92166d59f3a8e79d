#!lua flags=no-writes
-- sample(capabilities): ids of ready nodes with all the capabilities, partition by partition.
-- KEYS  per partition: the ready set of each capability
-- ARGV  capabilities per partition, how many per partition (0 = all, exactly)
-- Reply ids; one capability is sampled at random, several are intersected
local each, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = {}
for i = 1, #KEYS, each do
  local ids
  if each > 1 then
    local sets = {}
    for j = i, i + each - 1 do sets[#sets + 1] = KEYS[j] end
    ids = redis.call('SINTER', unpack(sets))
  elseif most == 0 then
    ids = redis.call('SMEMBERS', KEYS[i])
  else
    ids = redis.call('SRANDMEMBER', KEYS[i], most)
  end
  for _, id in ipairs(ids) do reply[#reply + 1] = id end
end
return reply
