#!lua
-- Retires an anonymous visitor in favour of an account, or finds that this was done before. From here on the visitor
-- can get no new reaction: see the tombstone in server/tallycast/engine/keys.py.
--
-- KEYS[1]  the visitor's index (zset of items; or the tombstone: a string, the account's member)
-- KEYS[2]  the items whose reactions are still to be moved (zset)
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  the account's member
-- ARGV[3]  the visitor's channel
-- ARGV[4]  how long the tombstone is kept (s)
--
-- Returns MessagePack [now] past the deadline, else [now, 1], or [now, 0] when another account was first.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'string' then
  return cmsgpack.pack({now, redis.call('GET', KEYS[1]) == ARGV[2] and 1 or 0})
end
if kind == 'zset' then
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
publish_to_visitor(ARGV[3], '')
return cmsgpack.pack({now, 1, unpublished})
