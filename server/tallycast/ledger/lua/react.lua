#!lua
-- Sets what visitors hold on items, derives the counts from the changes, versions and publishes them.
-- Atomic: all of a batch or nothing of it. A wish is a state, never a flip, so running a batch twice is harmless.
-- The readable reference of the rule is server/tallycast/signals/choice.py.
--
-- KEYS[1 .. n]      the n items, see layout.lua; their other buckets have the same hash tag
-- KEYS[n+1 .. n+m]  the m visitors' indexes (zset of items); not on a cluster, where enlist.lua comes first
-- ARGV[1]           deadline, engine time in µs: past it the batch is refused, because nobody waits any more
-- ARGV[2]           MessagePack [sites, items, wishes], or [sites, items, wishes, times]
--                     sites:  [[what its visitors' channels begin with, how many new items there may be, kind,
--                             kind, ...], ...]
--                     items:  [[site number, item id], ...], in the order of KEYS
--                     wishes: [item number, member, kind or "", index number, origin, ...], flat, five a wish;
--                             an origin below 0 may do what it likes with a frozen item
--                     times:  for each wish since when it holds (µs), or 0 for now: one that is not later than what
--                             the visitor's index has for the item changes nothing
-- ARGV[3]           what channels end in, see keys.py
-- All numbers count from 1.
--
-- Returns MessagePack [now] when refused, else [now, [answers, made]]: answers is flat, for each wish its version and
-- then one count for each kind of the item's site. Instead of a version, where the wish is not granted: -1 when the
-- visitor is retired, -2 when the item is frozen, -3 when it would be one new item too many. made is how many new items
-- each site got.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local batch = cmsgpack.unpack(ARGV[2])
local sites, items, wishes, times = batch[1], batch[2], batch[3], batch[4]

-- What a script has written stays when a later command of it fails. So first everything is read and decided, which
-- may fail (but the indexes); then it is written; and what may be forbidden to us, publishing, comes last and costs nobody anything.

local asking, states, stored, holds = {}, {}, {}, {}
for which = 1, #items do
  asking[which] = {}
end
for i = 1, #wishes, 5 do
  local asked = asking[wishes[i]]
  asked[#asked + 1] = wishes[i + 1]
end
for which, asked in ipairs(asking) do
  states[which], stored[which], holds[which] = look(KEYS[which], asked)
end

local stamp = string.format('%.0f', now)
local changes, news = {}, {}
local answers, n, made = {}, 0, {}
for number = 1, #sites do
  made[number] = 0
end

for i = 1, #wishes, 5 do
  local which, member, wish = wishes[i], wishes[i + 1], wishes[i + 2]
  local item, state, held = items[which], states[which], holds[which]
  local site, at = sites[item[1]], held[member] or false
  local since = times and times[(i + 4) / 5] or 0
  local refused, stays = state[FROZEN] == 1 and wishes[i + 4] >= 0 and -2, wish == (at and state[at - 1] or '')
  if not (refused or stays) and state[VERSION] == 0 and made[item[1]] >= site[2] then
    refused = -3
  end
  if not refused and (since > 0 or not (stays or at)) then
    -- What is held is in the index already: only what is not is ever taken out of it. It is written this early because a
    -- retired visitor has a mark in its place, and must not come to hold anything. It may hold too much.
    local added = enlist(KEYS[#items + wishes[i + 3]], since, stamp, item[2])
    stays = stays or since > 0 and added == 0
    refused = not added and -1
  end
  if not (refused or stays) then
    if state[VERSION] == 0 then
      made[item[1]] = made[item[1]] + 1
    end
    if at then
      lower(KEYS[which], state, at)
    end
    at = wish ~= '' and place_for(state, wish)
    if at then
      state[at] = state[at] + 1
    end
    state[VERSION] = math.max(state[VERSION] + 1, now)
    held[member] = at
    changes[which] = changes[which] or {}
    changes[which][member] = at
    news[#news + 1] = site[1] .. member .. ARGV[3]
    news[#news + 1] = cmsgpack.pack({item[2], state[VERSION], wish, wishes[i + 4]})
  end

  n = n + 1
  answers[n] = refused or state[VERSION]
  for k = 3, #site do
    n = n + 1
    answers[n] = count_of(state, site[k])
  end
end

for which in pairs(changes) do
  grow(KEYS[which], states[which], stored[which])
end
for which, members in pairs(changes) do
  changes[which] = write(KEYS[which], states[which], members)
end

for i = 1, #news, 2 do
  publish_to_visitor(news[i], news[i + 1])
end
for which, shown in pairs(changes) do
  publish(KEYS[which] .. ARGV[3], shown)
end

return answered(now, {answers, made})
