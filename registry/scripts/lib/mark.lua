-- Marks a node for the sweeper and rings the partition's bell (its own name) for the first one.
local function mark(todo_key, bell, node_id)
  if redis.call('SADD', todo_key, node_id) == 1 and redis.call('SCARD', todo_key) == 1 then
    redis.call('SPUBLISH', bell, bell)
  end
end
