#!lua
-- Counts the members of some more of an item's buckets, while reactions go on; those before are counted along with
-- every change. With the last bucket, sets the item's counts to those that were counted, and publishes them if that is
-- a change.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  how many buckets
-- ARGV[3]  1 to begin anew
-- ARGV[4]  what channels end in, see keys.py
--
-- Returns MessagePack [now] when refused, else [now, 0] when there are more buckets, or [now, [kinds, stored, counted]].

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end
if IMPORTING then
  error({err = 'NOTHERE who counts waits until all has come'})
end

local state = opened(redis.call('HGET', KEYS[1], ''))
local begun = state.counting ~= nil
if not begun or ARGV[3] == '1' then
  state.counting = {state[FROZEN], 0}
end
local counting = state.counting
for at = #counting + 1, DONE + (#state - HEAD) / 2 do
  counting[at] = 0
end
local first = counting[DONE]
counting[DONE] = math.min(first + ARGV[2], state[BUCKETS])
for bucket = first, counting[DONE] - 1 do
  count_bucket(KEYS[1], state, bucket, counting, DONE)
end
if counting[DONE] < state[BUCKETS] then
  redis.call('HSET', KEYS[1], '', (packed(state)))
  return cmsgpack.pack({now, 0})
end

state.counting = nil
local kinds, stored, counted, right = {}, {}, {}, true
for at = HEAD + 2, #state, 2 do
  local number = (at - HEAD) / 2
  local base = base_at(state, at)
  kinds[number], stored[number], counted[number] = state[at - 1], state[at] - base, counting[DONE + number]
  if stored[number] ~= counted[number] then
    right, state[at] = false, counted[number] + base
  end
end
if not right then
  state[VERSION] = math.max(state[VERSION] + 1, now)
  publish(KEYS[1] .. ARGV[4], write(KEYS[1], state, {}))
elseif begun then
  redis.call('HSET', KEYS[1], '', (packed(state)))
end
return cmsgpack.pack({now, {kinds, stored, counted}})
