#!lua
-- Takes items off a visitor's index, those that were not reacted to again since it was read.
-- Running it twice, or late, is harmless: who reacts again on an item gives it another time.
--
-- KEYS[1]  the visitor's index (zset of items)
-- ARGV     item, time, item, time, ...: as the engine gave them
--
-- Returns the number of items taken off.

local gone = {}
for i = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone[#gone + 1] = ARGV[i]
  end
end
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
end
return tostring(#gone)
