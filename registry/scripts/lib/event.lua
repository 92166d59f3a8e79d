-- Adds an event to the partition's stream. With it go the labels that the node has and, where they
-- just changed, those it had: who may see a node may see what happens to it.
local function labels_among(capabilities)
  local found = {}
  for line in string.gmatch(capabilities or '', '[^\n]+') do
    if string.sub(line, 1, 6) == 'label:' then found[#found + 1] = string.sub(line, 7) end
  end
  return table.concat(found, '\n')
end
local function event(key, kept, capabilities, former, ...)
  local fields, labels, had = { ... }, labels_among(capabilities), labels_among(former)
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if labels ~= '' then add('lab', labels) end
  if had ~= labels then add('was', had) end
  redis.call('XADD', key, 'MAXLEN', '~', kept, '*', unpack(fields))
end
