#!lua
-- note(partition): adds an event that comes with no change of a record.
--
-- KEYS  1 ev (stream)
-- ARGV  1 events kept  2 the node's capabilities ('' = about no one node)  3.. name, value, ...
-- Reply 1
--@include event
event(KEYS[1], ARGV[1], ARGV[2], ARGV[2], unpack(ARGV, 3))
return 1
