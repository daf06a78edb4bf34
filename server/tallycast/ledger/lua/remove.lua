#!lua
-- Deletes an item that was just reset, unless it has changed since. Nothing is published: its counts were published as
-- 0 by the reset.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
--
-- Returns MessagePack [now] past the deadline, else [now, 1], or [now, 0] when it has changed.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local state = decode_state(redis.call('HGET', KEYS[1], ''))
if state[BUCKETS] > 1 or state[BASES] ~= 0 or redis.call('HLEN', KEYS[1]) > 1 then
  return cmsgpack.pack({now, 0})
end
redis.call('UNLINK', KEYS[1])
return cmsgpack.pack({now, 1})
