#!lua
-- Does nothing, where writes are accepted: an engine that accepts none refuses a script without the flag no-writes.
--
-- KEYS[1]  a key on the node that is probed
-- ARGV[1]  deadline, engine time in µs
--
-- Returns MessagePack [now] past the deadline, else [now, 1].

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end
return cmsgpack.pack({now, 1})
