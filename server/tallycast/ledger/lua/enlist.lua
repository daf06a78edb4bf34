#!lua
-- Adds items to a visitor's index, before the visitor's reactions to them are stored.
--
-- KEYS[1]       the index (zset of items; or the tombstone of a retired visitor)
-- ARGV[1]       deadline, engine time in µs
-- ARGV[2 .. n]  item ids
--
-- Returns MessagePack [now] past the deadline, else [now, 1], or [now, 0] when the visitor is retired.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local stamp = string.format('%.0f', now)
for at = 2, #ARGV do
  local added = redis.pcall('ZADD', KEYS[1], stamp, ARGV[at])
  if type(added) == 'table' then
    if string.sub(added.err, 1, 9) ~= 'WRONGTYPE' then
      return added
    end
    return cmsgpack.pack({now, 0})
  end
end
return cmsgpack.pack({now, 1})
