#!lua
-- Freezes an item, so that it accepts no reactions of visitors, or unfreezes it. Its counts and its version stay: there
-- is nothing to publish.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  1 to freeze, 0 to unfreeze
--
-- Returns MessagePack [now] past the deadline, else [now, 1], or [now, 0] when it was so before.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local state = decode_state(redis.call('HGET', KEYS[1], ''))
local frozen = tonumber(ARGV[2])
if state[FROZEN] == frozen then
  return cmsgpack.pack({now, 0})
end
state[FROZEN] = frozen
redis.call('HSET', KEYS[1], '', (encode_state(state)))
return cmsgpack.pack({now, 1})
