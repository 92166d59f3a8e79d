-- Puts a verdict's letter in front of the judged window (newest first).
local function push(window, letter, length)
  return string.sub(letter .. (window or ''), 1, length)
end
