#!lua
-- Sets an item's counts to those that were counted, if the item has not changed since, and publishes them.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  the version at which was counted
-- ARGV[3]  MessagePack [count, ...] in the order of the state's kinds
--
-- Returns MessagePack [now] when refused, else [now, 1], or [now, 0] when the item has changed.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local state = opened(redis.call('HGET', KEYS[1], ''))
local counts = cmsgpack.unpack(ARGV[3])
if state[VERSION] ~= tonumber(ARGV[2]) or #state ~= HEAD + 2 * #counts then
  return cmsgpack.pack({now, 0})
end
for number, count in ipairs(counts) do
  local at = HEAD + 2 * number
  state[at] = count + base_at(state, at)
end
state[VERSION] = math.max(state[VERSION] + 1, now)
publish(KEYS[1], write(KEYS[1], state, {}))
return cmsgpack.pack({now, 1})
