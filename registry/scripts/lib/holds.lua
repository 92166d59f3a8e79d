-- The instant up to which holds have ended: one whose time is over still counts until a report came
-- after it, as its job may have begun meanwhile. Counting twice for a moment is the safe side.
local function holds_end(now, reported_at) return math.min(now, reported_at) end
local function open_holds(key, now, reported_at)
  return redis.call('ZCOUNT', key, '(' .. int(holds_end(now, reported_at)), '+inf')
end
