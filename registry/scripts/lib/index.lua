-- Ready indexes: `keys[first..last]` are the declared sets of the node's capabilities.
local function leave_index(keys, first, last, id)
  for i = first, last do redis.call('SREM', keys[i], id) end
end
local function join_index(keys, first, last, id, names_key, capabilities)
  for i = first, last do redis.call('SADD', keys[i], id) end
  for name in string.gmatch(capabilities or '', '[^\n]+') do redis.call('SADD', names_key, name) end
end
