#!lua
-- Sets the bases of items: the counts that they start from, beside those of their members. A state, not an increment,
-- so running it twice is harmless. All of these items or none.
--
-- KEYS[1 .. n]  the n items, see layout.lua
-- ARGV[1]       deadline, engine time in µs
-- ARGV[2]       MessagePack [kinds, bases]: bases is flat, for each item one for each kind; other kinds get 0
-- ARGV[3]       the suffix that makes a key a channel, see keys.py
--
-- Returns MessagePack [now] past the deadline, else [now, answers]: for each item its version, or -2 when it is frozen.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local request = cmsgpack.unpack(ARGV[2])
local kinds, bases = request[1], request[2]

-- As in react.lua: first everything is read and decided, then written, and published last.

local answers, changes = {}, {}
for i = 1, #KEYS do
  local state = decode_state(redis.call('HGET', KEYS[i], ''))
  answers[i] = state[FROZEN] == 1 and -2
  if not answers[i] then
    local wanted, changed = {}, false
    for k, kind in ipairs(kinds) do
      wanted[kind] = bases[(i - 1) * #kinds + k]
      if wanted[kind] > 0 then
        place_of(state, kind)
      end
    end
    local all, some = {}, false
    for at = HEAD + 2, #state, 2 do
      local base, before = wanted[state[at - 1]] or 0, base_at(state, at)
      state[at] = state[at] + base - before
      all[#all + 1] = base
      some, changed = some or base > 0, changed or base ~= before
    end
    state[BASES] = some and all or 0
    if changed then
      state[VERSION] = math.max(state[VERSION] + 1, now)
      changes[#changes + 1] = {key = KEYS[i], state = state}
    end
    answers[i] = state[VERSION]
  end
end

for _, change in ipairs(changes) do
  change.update = write(change.key, change.state, {})
end
for _, change in ipairs(changes) do
  publish(change.key .. ARGV[3], change.update)
end
return cmsgpack.pack({now, answers})
