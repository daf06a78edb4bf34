#!lua flags=no-writes
-- Reads the state of items and what a visitor holds on each, all at one moment.
--
-- KEYS[1 .. 2n]  for each of the n items: its state (string), its members (hash)
-- ARGV[1 .. n]   for each item: the member asked for, or ""
--
-- Returns MessagePack [now, answers]: answers is flat, for each item its state as stored ("": never touched)
-- and the kind the member holds ("": none).

local time = redis.call('TIME')
local answers = {}

for i = 1, #ARGV do
  answers[2 * i - 1] = redis.call('GET', KEYS[2 * i - 1]) or ''
  answers[2 * i] = ARGV[i] ~= '' and redis.call('HGET', KEYS[2 * i], ARGV[i]) or ''
end

return cmsgpack.pack({time[1] * 1000000 + time[2], answers})
