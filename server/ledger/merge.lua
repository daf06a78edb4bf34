#!lua
-- Moves a retired visitor's reactions on some items to an account. Where the account holds one itself, that stays and
-- the other goes. All of these items or none, and running it twice is harmless: the second time nothing is held.
-- The readable reference of the rule is server/rules/reactions.py.
--
-- KEYS[1 .. n]  the n items (hash): member -> kind, and "" -> the state
-- KEYS[n+1]     the account's index (zset of items)
-- KEYS[n+2]     the items whose reactions are still to be moved (zset)
-- ARGV[1]       deadline, engine time in µs
-- ARGV[2]       MessagePack [visitor, account, channel, items]: two members, the account's channel, the item ids
--
-- Returns MessagePack [now] when refused, else [now, the number of items moved].

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local asked = cmsgpack.unpack(ARGV[2])
local visitor, account, channel, items = asked[1], asked[2], asked[3], asked[4]

-- As in react.lua: first everything is read and decided, then written, and published last.

local changes = {}
for which = 1, #items do
  local stored = redis.call('HMGET', KEYS[which], '', visitor, account)
  local held, own = stored[2], stored[3]
  if held then
    local state = stored[1] and cmsgpack.unpack(stored[1]) or {0, {}}
    if own then
      state[2][held] = math.max((state[2][held] or 0) - 1, 0)
    end
    state[1] = math.max(state[1] + 1, now)
    changes[#changes + 1] = {which, cmsgpack.pack(state), state[1], not own and held}
  end
end

local stamp = string.format('%.0f', now)
for _, change in ipairs(changes) do
  if change[4] then
    redis.call('ZADD', KEYS[#items + 1], stamp, items[change[1]])
  end
end
for _, change in ipairs(changes) do
  local key = KEYS[change[1]]
  if change[4] then
    redis.call('HSET', key, '', change[2], account, change[4])
  else
    redis.call('HSET', key, '', change[2])
  end
  redis.call('HDEL', key, visitor)
end
redis.call('ZREM', KEYS[#items + 2], unpack(items))

for _, change in ipairs(changes) do
  redis.pcall('PUBLISH', KEYS[change[1]], change[2])
  if change[4] then
    redis.pcall('PUBLISH', channel, cmsgpack.pack({items[change[1]], change[3], change[4], 0}))
  end
end
return cmsgpack.pack({now, #changes})
