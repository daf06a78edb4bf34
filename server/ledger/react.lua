#!lua
-- Sets what visitors hold on items, derives the counts from the changes, versions and publishes them.
-- Atomic: all of a batch or nothing of it. A wish is a state, never a flip, so running a batch twice is harmless.
-- The readable reference of the rule is server/rules/reactions.py.
--
-- KEYS[1 .. n]      the n items (hash): member -> kind, and "" -> the state
-- KEYS[n+1 .. n+m]  the m visitors' indexes (zset of items)
-- ARGV[1]           deadline, engine time in µs: past it the batch is refused, because nobody waits any more
-- ARGV[2]           MessagePack [sites, items, wishes]
--                     sites:  [[name, kind, kind, ...], ...]
--                     items:  [[site number, item id], ...], in the order of KEYS
--                     wishes: [item number, member, kind or "", index number, origin, ...], flat, five a wish
-- All numbers count from 1.
--
-- Returns MessagePack [now] when refused, else [now, answers]: answers is flat, for each wish its version and
-- then one count for each kind of the item's site. A version of -1: the visitor is retired, and the wish not granted.
--
-- An item's state is what was published of it last: MessagePack [version, counts]. It lies in the hash of its
-- members, because what a reaction costs the engine is mostly the number of commands.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local batch = cmsgpack.unpack(ARGV[2])
local sites, items, wishes = batch[1], batch[2], batch[3]

-- What a script has written stays when a later command of it fails. So first everything is read and decided, which
-- may fail (but the indexes); then it is written; and what may be forbidden to us, publishing, comes last and costs nobody anything.

local fields = {}
for which = 1, #items do
  fields[which] = {''}
end
for i = 1, #wishes, 5 do
  local asked = fields[wishes[i]]
  asked[#asked + 1] = wishes[i + 1]
end

local states, holds = {}, {}
for which, asked in ipairs(fields) do
  local stored, held = redis.call('HMGET', KEYS[which], unpack(asked)), {}
  for k = 2, #asked do
    held[asked[k]] = stored[k] or ''
  end
  states[which] = stored[1] and cmsgpack.unpack(stored[1]) or {0, {}}
  holds[which] = held
end

local stamp = string.format('%.0f', now)
local changes, publications = {}, {}
local answers, n = {}, 0

for i = 1, #wishes, 5 do
  local which, member, wish = wishes[i], wishes[i + 1], wishes[i + 2]
  local item, state = items[which], states[which]
  local site, counts = sites[item[1]], state[2]
  local held, retired = holds[which][member], false
  if held ~= wish then
    if held ~= '' then
      counts[held] = math.max((counts[held] or 0) - 1, 0)
    else
      -- What is held is in the index already: nothing is ever taken out of it. It is written this early because a
      -- retired visitor has a mark in its place, and must not come to hold anything. It may hold too much.
      local added = redis.pcall('ZADD', KEYS[#items + wishes[i + 3]], stamp, item[2])
      if type(added) == 'table' then
        if string.sub(added.err, 1, 9) ~= 'WRONGTYPE' then
          return added
        end
        retired = true
      end
    end
  end
  if held ~= wish and not retired then
    if wish ~= '' then
      counts[wish] = (counts[wish] or 0) + 1
    end
    state[1] = math.max(state[1] + 1, now)
    holds[which][member] = wish
    changes[which] = changes[which] or {}
    changes[which][member] = wish
    publications[#publications + 1] = 'tc:me:' .. site[1] .. ':' .. member
    publications[#publications + 1] = cmsgpack.pack({item[2], state[1], wish, wishes[i + 4]})
  end

  n = n + 1
  answers[n] = retired and -1 or state[1]
  for k = 2, #site do
    n = n + 1
    answers[n] = counts[site[k]] or 0
  end
end

for which, members in pairs(changes) do
  local packed = cmsgpack.pack(states[which])
  local written, dropped = {'', packed}, {}
  for member, wish in pairs(members) do
    if wish ~= '' then
      written[#written + 1] = member
      written[#written + 1] = wish
    else
      dropped[#dropped + 1] = member
    end
  end
  redis.call('HSET', KEYS[which], unpack(written))
  if #dropped > 0 then
    redis.call('HDEL', KEYS[which], unpack(dropped))
  end
  publications[#publications + 1] = KEYS[which]
  publications[#publications + 1] = packed
end

for i = 1, #publications, 2 do
  redis.pcall('PUBLISH', publications[i], publications[i + 1])
end

return cmsgpack.pack({now, answers})
