#!lua
-- Moves a retired visitor's reactions to some items to an account. Where the account has a reaction of its own, that
-- one stays and the visitor's is removed. All of these items or none. Running it twice is harmless: the second time the
-- visitor has no reactions. The readable reference of the rule is server/tallycast/signals/choice.py.
--
-- KEYS[1 .. n]  the n items, see layout.lua; their other buckets have the same hash tag
-- ARGV[1]       deadline, engine time in µs
-- ARGV[2]       MessagePack [visitor, account, channel, items]: two members, the account's channel, the item ids
-- ARGV[3]       the suffix that makes a key a channel, see keys.py
--
-- Returns MessagePack [now] past the deadline, else [now, the number of items moved].

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local request = cmsgpack.unpack(ARGV[2])
local visitor, account, channel, items = request[1], request[2], request[3], request[4]

-- As in react.lua: first everything is read and decided, then written, and published last.

local moves = {}
for i = 1, #items do
  local key = KEYS[i]
  local state, _, held = find_members(key, {visitor, account})
  local at, own = held[visitor], held[account]
  if at then
    if own then
      decrement(key, state, at)
    end
    state[VERSION] = math.max(state[VERSION] + 1, now)
    moves[#moves + 1] = {key = key, item = items[i], state = state, at = not own and at}
  end
end

for _, move in ipairs(moves) do
  local changes = {[visitor] = false}
  if move.at then
    changes[account] = move.at
  end
  move.update = write(move.key, move.state, changes)
end

for _, move in ipairs(moves) do
  local state, at = move.state, move.at
  publish(move.key .. ARGV[3], move.update)
  if at then
    publish_to_visitor(channel, cmsgpack.pack({move.item, state[VERSION], state[at - 1], 0}))
  end
end
return answered(now, #moves)
