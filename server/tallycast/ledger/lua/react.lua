#!lua
-- Sets what visitors hold on items, derives the counts from the changes, and versions and publishes them. All of a
-- batch or nothing of it. A reaction is a state, never a toggle, so running a batch twice is harmless. The readable
-- reference of the rule is server/tallycast/signals/choice.py.
--
-- KEYS[1 .. n]      the n items, see layout.lua; their other buckets have the same hash tag
-- KEYS[n+1 .. n+m]  the m visitors' indexes (zset of items); not on a cluster, where enlist.lua runs first
-- ARGV[1]           deadline, engine time in µs: past it the batch is refused, because its caller has given up
-- ARGV[2]           MessagePack [sites, items, reactions], or [sites, items, reactions, times]
--                     sites:      [[prefix of its visitors' channels, how many new items it may have, kind, kind, ...],
--                                 ...]
--                     items:      [[site number, item id], ...], in the order of KEYS
--                     reactions:  [item number, member, kind or "", index number, connection id, ...], flat, five each;
--                                 an id below 0 is the publisher's: it may change a frozen item
--                     times:      for each reaction since when it holds (µs), or 0 for now; one that is not later than
--                                 the item's entry in the visitor's index changes nothing
-- ARGV[3]           the suffix that makes a key a channel, see keys.py
-- All numbers count from 1.
--
-- Returns MessagePack [now] past the deadline, else [now, [answers, created]]: answers is flat, for each reaction the
-- item's version, then one count for each kind of its site. In place of a version, where the reaction is refused: -1
-- when the visitor is retired, -2 when the item is frozen, -3 when the item is new and over the quota. created is how
-- many new items each site got.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local request = cmsgpack.unpack(ARGV[2])
local sites, items, reactions, times = request[1], request[2], request[3], request[4]

-- What a script has written stays when a later command of it fails. So first everything is read and decided, which may
-- fail (but for the indexes); then it is written; and publishing, which a missing right may forbid, comes last.

local members, states, stored, holds = {}, {}, {}, {}
for number = 1, #items do
  members[number] = {}
end
for i = 1, #reactions, 5 do
  local list = members[reactions[i]]
  list[#list + 1] = reactions[i + 1]
end
for number, list in ipairs(members) do
  states[number], stored[number], holds[number] = find_members(KEYS[number], list)
end

local stamp = string.format('%.0f', now)
local changes, personal = {}, {}
local answers, n, created = {}, 0, {}
for number = 1, #sites do
  created[number] = 0
end

for i = 1, #reactions, 5 do
  local number, member, kind = reactions[i], reactions[i + 1], reactions[i + 2]
  local item, state, held = items[number], states[number], holds[number]
  local site, at = sites[item[1]], held[member] or false
  local since = times and times[(i + 4) / 5] or 0
  local refused, unchanged = state[FROZEN] == 1 and reactions[i + 4] >= 0 and -2, kind == (at and state[at - 1] or '')
  if not (refused or unchanged) and state[VERSION] == 0 and created[item[1]] >= site[2] then
    refused = -3
  end
  if not refused and (since > 0 or not (unchanged or at)) then
    -- An item with a reaction is in the index already: only items without one are ever removed from it. The index is
    -- written before the item, because a retired visitor has a tombstone in its place and must get no reaction. It may
    -- contain too many items.
    local added = enlist(KEYS[#items + reactions[i + 3]], since, stamp, item[2])
    unchanged = unchanged or since > 0 and added == 0
    refused = not added and -1
  end
  if not (refused or unchanged) then
    if state[VERSION] == 0 then
      created[item[1]] = created[item[1]] + 1
    end
    if at then
      decrement(KEYS[number], state, at)
    end
    at = kind ~= '' and place_of(state, kind)
    if at then
      state[at] = state[at] + 1
    end
    state[VERSION] = math.max(state[VERSION] + 1, now)
    held[member] = at
    changes[number] = changes[number] or {}
    changes[number][member] = at
    personal[#personal + 1] = site[1] .. member .. ARGV[3]
    personal[#personal + 1] = cmsgpack.pack({item[2], state[VERSION], kind, reactions[i + 4]})
  end

  n = n + 1
  answers[n] = refused or state[VERSION]
  for k = 3, #site do
    n = n + 1
    answers[n] = count_of(state, site[k])
  end
end

for number in pairs(changes) do
  grow(KEYS[number], states[number], stored[number])
end
-- From here on the updates that are to be published take the place of the changes.
for number, changed in pairs(changes) do
  changes[number] = write(KEYS[number], states[number], changed)
end

for i = 1, #personal, 2 do
  publish_to_visitor(personal[i], personal[i + 1])
end
for number, update in pairs(changes) do
  publish(KEYS[number] .. ARGV[3], update)
end

return answered(now, {answers, created})
