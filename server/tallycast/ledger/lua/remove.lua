#!lua
-- Forgets an item that was just reset, unless somebody has touched it since. Nothing is published: its counts are 0 for
-- everybody already.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
--
-- Returns MessagePack [now] when refused, else [now, 1], or [now, 0] when somebody has.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local state = opened(redis.call('HGET', KEYS[1], ''))
if state[BUCKETS] > 1 or state[BASES] ~= 0 or redis.call('HLEN', KEYS[1]) > 1 then
  return cmsgpack.pack({now, 0})
end
redis.call('UNLINK', KEYS[1])
return cmsgpack.pack({now, 1})
