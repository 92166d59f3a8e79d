-- Adds an event to the partition's stream. With it go the labels that the node has and, where they
-- just changed, those it had: who may see a node may see what happens to it.
local function labels_among(capabilities)
  local found = {}
  for line in string.gmatch(capabilities or '', '[^\n]+') do
    if string.sub(line, 1, 6) == 'label:' then found[#found + 1] = string.sub(line, 7) end
  end
  return table.concat(found, '\n')
end
-- An event's id is its millisecond, and behind that the microsecond in it and eleven bits drawn from when
-- it happened and to which node: 21 bits, so that cursors stay short. Where the clock is behind the last
-- event, 21 such bits are added to that one's id. Were one added, as the store itself does it, one that
-- lost its end would give others the ids of lost events, and who had read those could not be told.
-- (math.random begins anew in each script.)
local function drawn(s, us, node)
  local a, b, c, d = string.byte(node, -4, -1)
  local last_four = (((a or 0) * 251 + (b or 0)) * 251 + (c or 0)) * 251 + (d or 0)
  return s * 1000003 + us * 65537 + last_four
end
local function id_behind_the_last(key, bits)
  local info, last = redis.call('XINFO', 'STREAM', key)
  for j = 1, #info, 2 do
    if info[j] == 'last-generated-id' then last = info[j + 1] end
  end
  local ms, taken = string.match(last, '^(%d+)%-(%d+)$')
  if #taken > 15 then return string.format('%.0f-%.0f', tonumber(ms) + 1, bits) end
  return string.format('%s-%.0f', ms, tonumber(taken) + bits)
end
local function append(key, kept, fields)
  local t = redis.call('TIME')
  local s, us = tonumber(t[1]), tonumber(t[2])
  local in_ms, bits = us % 1000, drawn(s, us, fields[4])
  local id = string.format('%.0f-%.0f', s * 1000 + (us - in_ms) / 1000, in_ms * 2048 + bits % 2048)
  local added = redis.pcall('XADD', key, 'MAXLEN', '~', kept, id, unpack(fields))
  if type(added) == 'table' then
    id = id_behind_the_last(key, bits % 2097151 + 1)
    redis.call('XADD', key, 'MAXLEN', '~', kept, id, unpack(fields))
  end
end
local function event(key, kept, capabilities, former, ...)
  local fields, labels, had = { ... }, labels_among(capabilities), labels_among(former)
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if labels ~= '' then add('lab', labels) end
  if had ~= labels then add('was', had) end
  append(key, kept, fields)
end
