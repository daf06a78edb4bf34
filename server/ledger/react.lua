#!lua
-- Sets what visitors hold on items, derives the counts from the changes, versions and publishes them.
-- Atomic: all of a batch or nothing of it. A wish is a state, never a flip, so running a batch twice is harmless.
-- The readable reference of the rule is server/rules/reactions.py.
--
-- KEYS[1 .. 2n]        for each of the n items: its state (hash), its members (hash)
-- KEYS[2n+1 .. 2n+m]   the m visitors' indexes (zset of items), written before anything else
-- ARGV[1]              deadline, engine time in µs: past it the batch is refused, because nobody waits any more
-- ARGV[2]              MessagePack [sites, items, wishes, indexed]
--                        sites:   [[name, kind, kind, ...], ...]
--                        items:   [[site number, item id], ...], in the order of KEYS
--                        wishes:  [item number, member, kind or "", origin, ...], flat, four a wish
--                        indexed: [index number, item id, ...], flat, two an entry
-- All numbers count from 1.
--
-- Returns MessagePack [now] when refused, else [now, answers]: answers is flat, for each wish its version and
-- then one count for each kind of the item's site.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local batch = cmsgpack.unpack(ARGV[2])
local sites, items, wishes, indexed = batch[1], batch[2], batch[3], batch[4]
local stamp = string.format('%.0f', now)

for i = 1, #indexed, 2 do
  redis.call('ZADD', KEYS[2 * #items + indexed[i]], stamp, indexed[i + 1])
end

local states, versions, touched = {}, {}, {}
local answers, n = {}, 0

for i = 1, #wishes, 4 do
  local which, member, wish, origin = wishes[i], wishes[i + 1], wishes[i + 2], wishes[i + 3]
  local site = sites[items[which][1]]
  local counts = states[which]
  if not counts then
    counts = {}
    local stored = redis.call('HGETALL', KEYS[2 * which - 1])
    for f = 1, #stored, 2 do
      counts[stored[f]] = tonumber(stored[f + 1])
    end
    versions[which] = counts[':v'] or 0
    counts[':v'] = nil
    states[which] = counts
  end

  local held = redis.call('HGET', KEYS[2 * which], member) or ''
  if held ~= wish then
    if held ~= '' then
      counts[held] = math.max((counts[held] or 0) - 1, 0)
    end
    if wish ~= '' then
      counts[wish] = (counts[wish] or 0) + 1
      redis.call('HSET', KEYS[2 * which], member, wish)
    else
      redis.call('HDEL', KEYS[2 * which], member)
    end
    versions[which] = math.max(versions[which] + 1, now)
    touched[which] = true
    redis.call('PUBLISH', 'tc:me:' .. site[1] .. ':' .. member, cmsgpack.pack({
      item = items[which][2], version = versions[which], reaction = wish, origin = origin,
    }))
  end

  n = n + 1
  answers[n] = versions[which]
  for k = 2, #site do
    n = n + 1
    answers[n] = counts[site[k]] or 0
  end
end

for which in pairs(touched) do
  local site, counts = sites[items[which][1]], states[which]
  local fields, shown = {':v', string.format('%.0f', versions[which])}, {}
  for kind, count in pairs(counts) do
    fields[#fields + 1] = kind
    fields[#fields + 1] = count
  end
  for k = 2, #site do
    shown[site[k]] = counts[site[k]] or 0
  end
  redis.call('HSET', KEYS[2 * which - 1], unpack(fields))
  redis.call('PUBLISH', string.sub(KEYS[2 * which - 1], 1, -3),
    cmsgpack.pack({version = versions[which], counts = shown}))
end

return cmsgpack.pack({now, answers})
