-- The store's clock, in whole milliseconds, and whole numbers as text (Lua would print 1e+12).
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function int(n) return string.format('%.0f', n) end
local function num(s) return tonumber(s or '0') or 0 end
-- A call that ran long after it was packed (a paused store, a full pipe) must not change anything
-- on the strength of an age that is no longer true: the caller packs it again.
local function ran_late(now, packed_at, max_lag)
  return math.abs(now - packed_at) > max_lag
end
