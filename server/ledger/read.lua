#!lua flags=no-writes
-- Reads the state of items and what a visitor holds on each, all at one moment.
--
-- KEYS[1 .. 2n]  for each of the n items: its state (hash), its members (hash)
-- ARGV[1]        MessagePack [sites, queries]
--                  sites:   [[name, kind, kind, ...], ...]
--                  queries: [site number, member or "", ...], flat, two a query, in the order of KEYS
--
-- Returns MessagePack [now, answers]: answers is flat, for each query its version (0: never touched), one count for
-- each kind of its site, and the kind the member holds ("": none).

local time = redis.call('TIME')
local batch = cmsgpack.unpack(ARGV[1])
local sites, queries = batch[1], batch[2]
local answers, n = {}, 0

for i = 1, #KEYS / 2 do
  local site, member = sites[queries[2 * i - 1]], queries[2 * i]
  local fields = {':v'}
  for k = 2, #site do
    fields[k] = site[k]
  end
  local stored = redis.call('HMGET', KEYS[2 * i - 1], unpack(fields))
  for f = 1, #fields do
    n = n + 1
    answers[n] = tonumber(stored[f] or 0)
  end
  n = n + 1
  answers[n] = member ~= '' and redis.call('HGET', KEYS[2 * i], member) or ''
end

return cmsgpack.pack({time[1] * 1000000 + time[2], answers})
