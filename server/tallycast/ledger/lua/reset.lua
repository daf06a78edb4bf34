#!lua
-- Removes all reactions to an item, and its bases, so that its counts are 0. One step whatever its size: its members
-- stay behind in buckets of an older generation, which are never read again.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  the suffix that makes a key a channel, see keys.py
--
-- Returns MessagePack [now] past the deadline, else [now, [version, generation, buckets]]: the item's version (0: it
-- was never touched, and nothing was done), and which generation and how many buckets were left behind.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local key = KEYS[1]
local state = decode_state(redis.call('HGET', key, ''))
local generation, buckets = state[GENERATION], state[BUCKETS]
if state[VERSION] > 0 then
  state[VERSION] = math.max(state[VERSION] + 1, now)
  state[GENERATION], state[BUCKETS] = generation + 1, 1
  state[BASES], state.counting = 0, nil
  for at = HEAD + 2, #state, 2 do
    state[at] = 0
  end
  redis.call('UNLINK', key)
  -- One element more than other updates have: no visitor holds a reaction now. 147 is the head of an array of 3.
  publish(key .. ARGV[2], string.char(147) .. string.sub(write(key, state, {}), 2) .. cmsgpack.pack(true))
end
return cmsgpack.pack({now, {state[VERSION], generation, buckets}})
