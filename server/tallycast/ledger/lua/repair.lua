#!lua
-- Counts the members of the next of an item's buckets, while reactions go on: changes in buckets that have been counted
-- are added to the counts by the scripts that make them. With the last bucket, sets the item's counts to the result,
-- and publishes them if that is a change.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  how many buckets to count
-- ARGV[3]  1 to restart from the first bucket
-- ARGV[4]  the suffix that makes a key a channel, see keys.py
--
-- Returns MessagePack [now] past the deadline, else [now, 0] when there are more buckets, or
-- [now, [kinds, stored, counted]].

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end
if IMPORTING then
  error({err = 'NOTHERE buckets may not have arrived yet'})
end

local state = decode_state(redis.call('HGET', KEYS[1], ''))
local started = state.counting ~= nil
if not started or ARGV[3] == '1' then
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
  redis.call('HSET', KEYS[1], '', (encode_state(state)))
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
elseif started then
  redis.call('HSET', KEYS[1], '', (encode_state(state)))
end
return cmsgpack.pack({now, {kinds, stored, counted}})
