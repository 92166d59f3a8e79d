#!lua flags=no-writes
-- now(): the store's time, also from one that refuses writes.
-- KEYS  1 any: which part of a Cluster is asked    Reply now, ms
--@include clock
return now_ms()
