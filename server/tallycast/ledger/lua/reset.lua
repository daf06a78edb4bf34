#!lua
-- Forgets who reacted to an item, and so its counts, and what it started from. In one step whatever its size: its members are left behind in
-- buckets of an older generation, which nobody reads.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  deadline, engine time in µs
-- ARGV[2]  what channels end in, see keys.py
--
-- Returns MessagePack [now] when refused, else [now, [version, generation, buckets]]: the item's version (0: nobody ever
-- touched it, and nothing was done), and which generation and how many buckets were left behind.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local key = KEYS[1]
local state = opened(redis.call('HGET', key, ''))
local generation, buckets = state[GENERATION], state[BUCKETS]
if state[VERSION] > 0 then
  state[VERSION] = math.max(state[VERSION] + 1, now)
  state[GENERATION], state[BUCKETS] = generation + 1, 1
  state[BASES], state.counting = 0, nil
  for at = HEAD + 2, #state, 2 do
    state[at] = 0
  end
  redis.call('UNLINK', key)
  -- One more than other news has: whoever held something holds nothing now. 147 is the head of an array of 3.
  publish(key .. ARGV[2], string.char(147) .. string.sub(write(key, state, {}), 2) .. cmsgpack.pack(true))
end
return cmsgpack.pack({now, {state[VERSION], generation, buckets}})
