#!lua
-- Moves a retired visitor's reactions on some items to an account. Where the account holds one itself, that stays and
-- the other goes. All of these items or none, and running it twice is harmless: the second time nothing is held.
-- The readable reference of the rule is server/tallycast/signals/choice.py.
--
-- KEYS[1 .. n]  the n items, see layout.lua; their other buckets have the same hash tag
-- ARGV[1]       deadline, engine time in µs
-- ARGV[2]       MessagePack [visitor, account, channel, items]: two members, the account's channel, the item ids
-- ARGV[3]       what channels end in, see keys.py
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

local moves = {}
for which = 1, #items do
  local key = KEYS[which]
  local state, _, held = look(key, {visitor, account})
  local at, own = held[visitor], held[account]
  if at then
    if own then
      lower(key, state, at)
    end
    state[VERSION] = math.max(state[VERSION] + 1, now)
    moves[#moves + 1] = {key = key, item = items[which], state = state, at = not own and at}
  end
end

for _, move in ipairs(moves) do
  local changes = {[visitor] = false}
  if move.at then
    changes[account] = move.at
  end
  move.news = write(move.key, move.state, changes)
end

for _, move in ipairs(moves) do
  local state, at = move.state, move.at
  publish(move.key .. ARGV[3], move.news)
  if at then
    publish_to_visitor(channel, cmsgpack.pack({move.item, state[VERSION], state[at - 1], 0}))
  end
end
return answered(now, #moves)
