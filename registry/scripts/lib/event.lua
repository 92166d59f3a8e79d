-- Adds an event to the partition's stream. With it go the labels that the node has and, where they
-- just changed, those it had: who may see a node may see what happens to it.
local function labels_among(capabilities)
  local found = {}
  for line in string.gmatch(capabilities or '', '[^\n]+') do
    if string.sub(line, 1, 6) == 'label:' then found[#found + 1] = string.sub(line, 7) end
  end
  return table.concat(found, '\n')
end
-- An event's id is its millisecond and a word drawn from when it happened (in us), its kind and its
-- node, counted on from the last event's id where that is of the same millisecond or the clock is behind
-- it. Counting on by one would, in a store that lost its end and whose clock is behind, give another
-- event the id of a lost one, and who had read the lost one could not be told. A word has three bytes,
-- so that cursors stay short. (math.random begins anew in each script.)
local WORDS = 2097151
local function id_of(key, fields)
  local t, last, word = redis.call('TIME'), '0-0', 0
  for _, byte in ipairs({ string.byte(t[1] .. t[2] .. table.concat(fields, '', 1, 4), 1, -1) }) do
    word = (word * 1000003 + byte) % 2147483647
  end
  word = word % WORDS + 1
  if redis.call('EXISTS', key) == 1 then
    local info = redis.call('XINFO', 'STREAM', key)
    for j = 1, #info, 2 do
      if info[j] == 'last-generated-id' then last = info[j + 1] end
    end
  end
  local ms, taken = string.match(last, '^(%d+)%-(%d+)$')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  ms = tonumber(ms)
  if now > ms then return string.format('%.0f-%.0f', now, word) end
  if #taken > 15 then return string.format('%.0f-%.0f', ms + 1, word) end
  return string.format('%.0f-%.0f', ms, tonumber(taken) + word)
end
local function event(key, kept, capabilities, former, ...)
  local fields, labels, had = { ... }, labels_among(capabilities), labels_among(former)
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if labels ~= '' then add('lab', labels) end
  if had ~= labels then add('was', had) end
  redis.call('XADD', key, 'MAXLEN', '~', kept, id_of(key, fields), unpack(fields))
end
