#!lua flags=no-writes
-- Reads the state of items and what a visitor holds on each, all at one moment.
--
-- KEYS[1 .. n]    the n items, see layout.lua; their other buckets have the same hash tag
-- KEYS[n + 1 ..]  the indexes of the visitors
-- ARGV[1 .. n]    for each item: the visitor's member, or ""
--
-- Returns MessagePack [now, answers, retired]: answers is flat, for each item its state as stored ("": never touched)
-- and the kind that the member holds ("": none). retired has a 1 for each index that is the tombstone of a
-- retired visitor.

local time = redis.call('TIME')
local answers = {}

for i = 1, #ARGV do
  local member = ARGV[i]
  if member == '' then
    answers[2 * i - 1], answers[2 * i] = redis.call('HGET', KEYS[i], '') or '', ''
  else
    local state, stored, held = find_members(KEYS[i], {member})
    answers[2 * i - 1] = stored or ''
    answers[2 * i] = held[member] and state[held[member] - 1] or ''
  end
end

local retired = {}
for i = #ARGV + 1, #KEYS do
  retired[#retired + 1] = redis.call('TYPE', KEYS[i]).ok == 'string' and 1 or 0
end

return cmsgpack.pack({time[1] * 1000000 + time[2], answers, retired})
