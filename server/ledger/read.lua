#!lua flags=no-writes
-- Reads the state of items and what a visitor holds on each, all at one moment.
--
-- KEYS[1 .. n]  the n items (hash): member -> kind, and "" -> the state
-- ARGV[1 .. n]  for each item: the member asked for, or ""
--
-- Returns MessagePack [now, answers]: answers is flat, for each item its state as stored ("": never touched)
-- and the kind the member holds ("": none).

local time = redis.call('TIME')
local answers = {}

for i = 1, #ARGV do
  local member = ARGV[i]
  local stored = redis.call('HMGET', KEYS[i], '', member)
  answers[2 * i - 1] = stored[1] or ''
  answers[2 * i] = member ~= '' and stored[2] or ''
end

return cmsgpack.pack({time[1] * 1000000 + time[2], answers})
