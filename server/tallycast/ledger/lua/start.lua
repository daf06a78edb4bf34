#!lua
-- Sets the counts that items start from, beside those of their members. A state, not an increment: running it twice is
-- harmless. All of these items or none.
--
-- KEYS[1 .. n]  the n items, see layout.lua
-- ARGV[1]       deadline, engine time in µs
-- ARGV[2]       MessagePack [kinds, bases]: bases is flat, for each item one for each kind; other kinds get 0
-- ARGV[3]       what channels end in, see keys.py
--
-- Returns MessagePack [now] when refused, else [now, answers]: for each item its version, or -2 when it is frozen.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then
  return cmsgpack.pack({now})
end

local asked = cmsgpack.unpack(ARGV[2])
local kinds, bases = asked[1], asked[2]

-- As in react.lua: first everything is read and decided, then written, and published last.

local answers, changes = {}, {}
for which = 1, #KEYS do
  local state = opened(redis.call('HGET', KEYS[which], ''))
  answers[which] = state[FROZEN] == 1 and -2
  if not answers[which] then
    local wanted, changed = {}, false
    for k, kind in ipairs(kinds) do
      wanted[kind] = bases[(which - 1) * #kinds + k]
      if wanted[kind] > 0 then
        place_for(state, kind)
      end
    end
    local all, some = {}, false
    for at = HEAD + 2, #state, 2 do
      local base, was = wanted[state[at - 1]] or 0, base_at(state, at)
      state[at] = state[at] + base - was
      all[#all + 1] = base
      some, changed = some or base > 0, changed or base ~= was
    end
    state[BASES] = some and all or 0
    if changed then
      state[VERSION] = math.max(state[VERSION] + 1, now)
      changes[#changes + 1] = {KEYS[which], state}
    end
    answers[which] = state[VERSION]
  end
end

for _, change in ipairs(changes) do
  change[3] = write(change[1], change[2], {})
end
for _, change in ipairs(changes) do
  publish(change[1] .. ARGV[3], change[3])
end
return cmsgpack.pack({now, answers})
