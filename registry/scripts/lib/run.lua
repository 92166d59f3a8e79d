-- Which run of a server executes this: another one after a restart or a failover. '' where it does
-- not say.
local function this_run()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end
