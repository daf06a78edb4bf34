#!lua
-- Sets what visitors hold on items, derives the counts from the changes, versions and publishes them.
-- Atomic: all of a batch or nothing of it. A wish is a state, never a flip, so running a batch twice is harmless.
-- The readable reference of the rule is server/rules/reactions.py.
--
-- KEYS[1 .. 2n]        for each of the n items: its state (string), its members (hash)
-- KEYS[2n+1 .. 2n+m]   the m visitors' indexes (zset of items)
-- ARGV[1]              deadline, engine time in µs: past it the batch is refused, because nobody waits any more
-- ARGV[2]              MessagePack [sites, items, wishes]
--                        sites:  [[name, kind, kind, ...], ...]
--                        items:  [[site number, item id], ...], in the order of KEYS
--                        wishes: [item number, member, kind or "", index number, origin, ...], flat, five a wish
-- All numbers count from 1.
--
-- Returns MessagePack [now] when refused, else [now, answers]: answers is flat, for each wish its version and
-- then one count for each kind of the item's site.
--
-- An item's state is what was published of it last: MessagePack {version, counts}.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local batch = cmsgpack.unpack(ARGV[2])
local sites, items, wishes = batch[1], batch[2], batch[3]
local stamp = string.format('%.0f', now)

-- What a script has written stays when a later command of it fails. So first everything is read and decided, which
-- may fail; then it is written; and what may be forbidden to us, publishing, comes last and costs nobody anything.

local states, holds = {}, {}
local found, changes, publications = {}, {}, {}
local answers, n = {}, 0

for i = 1, #wishes, 5 do
  local which, member, wish = wishes[i], wishes[i + 1], wishes[i + 2]
  local site = sites[items[which][1]]
  local state = states[which]
  if not state then
    local stored = redis.call('GET', KEYS[2 * which - 1])
    state = stored and cmsgpack.unpack(stored) or {version = 0, counts = {}}
    states[which], holds[which] = state, {}
  end

  local counts = state.counts
  local held = holds[which][member] or redis.call('HGET', KEYS[2 * which], member) or ''
  if held ~= wish then
    if held ~= '' then
      counts[held] = math.max((counts[held] or 0) - 1, 0)
    else
      -- What is held is in the index already: nothing is ever taken out of it.
      found[#found + 1] = {KEYS[2 * #items + wishes[i + 3]], items[which][2]}
    end
    if wish ~= '' then
      counts[wish] = (counts[wish] or 0) + 1
    end
    state.version = math.max(state.version + 1, now)
    changes[which] = changes[which] or {}
    changes[which][member] = wish
    publications[#publications + 1] = {'tc:me:' .. site[1] .. ':' .. member, cmsgpack.pack({
      item = items[which][2], version = state.version, reaction = wish, origin = wishes[i + 4],
    })}
  end
  holds[which][member] = wish

  n = n + 1
  answers[n] = state.version
  for k = 2, #site do
    n = n + 1
    answers[n] = counts[site[k]] or 0
  end
end

-- The indexes first: they hold more than what is held, never less.
for _, entry in ipairs(found) do
  redis.call('ZADD', entry[1], stamp, entry[2])
end

for which, members in pairs(changes) do
  local key, packed = KEYS[2 * which - 1], cmsgpack.pack(states[which])
  for member, wish in pairs(members) do
    if wish ~= '' then
      redis.call('HSET', KEYS[2 * which], member, wish)
    else
      redis.call('HDEL', KEYS[2 * which], member)
    end
  end
  redis.call('SET', key, packed)
  publications[#publications + 1] = {string.sub(key, 1, -3), packed}
end

for _, publication in ipairs(publications) do
  redis.pcall('PUBLISH', publication[1], publication[2])
end

return cmsgpack.pack({now, answers})
