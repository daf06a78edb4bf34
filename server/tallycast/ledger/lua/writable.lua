#!lua
-- Does nothing, where writing is allowed: an engine that takes no writes refuses to begin with it.
--
-- KEYS[1]  any key of the node that is meant
-- ARGV[1]  deadline, engine time in µs
--
-- Returns MessagePack [now] when refused, else [now, 1].

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end
return cmsgpack.pack({now, 1})
