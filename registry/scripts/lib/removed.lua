-- Whether an operator took a node away: it was worded already, or is about to be.
local function removed(status, reason, leave_kind)
  return leave_kind == 'remove' or (status == 'offline' and reason == 'removed')
end
