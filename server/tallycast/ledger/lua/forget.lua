#!lua
-- Removes items from a visitor's index, except those whose time has changed since the index was read.
-- Running it twice, or late, is harmless: a new reaction gives the item another time.
--
-- KEYS[1]  the visitor's index (zset of items)
-- ARGV     item, time, item, time, ...: as the engine returned them
--
-- Returns the number of items removed, as a string.

local removed = {}
for i = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    removed[#removed + 1] = ARGV[i]
  end
end
if #removed > 0 then
  redis.call('ZREM', KEYS[1], unpack(removed))
end
return tostring(#removed)
