-- Tells a node's gateway of a change, on the channel of its partition.
local function tell(channel, id, sid, version, status, previous, reason, since, now)
  redis.call('SPUBLISH', channel, cjson.encode({
    t = 'status', id = id, sid = sid, version = version, status = status, previous = previous,
    reason = reason, since = since, at = now,
  }))
end
