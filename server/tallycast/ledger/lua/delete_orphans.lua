#!lua
-- Removes buckets that a reset left behind.
--
-- KEYS[1]       the item, see layout.lua
-- KEYS[2 .. n]  buckets of the item
-- ARGV          their generations
--
-- Returns the number of buckets removed, as a string.

local generation = decode_state(redis.call('HGET', KEYS[1], ''))[GENERATION]
local removed = 0
for i = 2, #KEYS do
  if tonumber(ARGV[i - 1]) < generation then
    removed = removed + redis.call('UNLINK', KEYS[i])
  end
end
return tostring(removed)
