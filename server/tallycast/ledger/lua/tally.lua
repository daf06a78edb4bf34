#!lua flags=no-writes
-- Counts the members of some of an item's buckets, all at one moment.
--
-- KEYS[1]  the item, see layout.lua
-- ARGV[1]  the first bucket
-- ARGV[2]  how many buckets
-- ARGV[3]  a bucket with more members is skipped, so that no call takes long
--
-- Returns MessagePack [state as stored, counts, skipped]: counts in the order of the state's kinds, numbers of buckets.

if IMPORTING then
  error({err = 'NOTHERE buckets may not have arrived yet'})
end

local stored = redis.call('HGET', KEYS[1], '')
local state, counts, skipped = decode_state(stored), {}, {}
for number = 1, (#state - HEAD) / 2 do
  counts[number] = 0
end
local first = tonumber(ARGV[1])
for bucket = first, math.min(first + ARGV[2], state[BUCKETS]) - 1 do
  if redis.call('HLEN', bucket_key(KEYS[1], state, bucket)) > tonumber(ARGV[3]) then
    skipped[#skipped + 1] = bucket
  else
    count_bucket(KEYS[1], state, bucket, counts, 0)
  end
end
return cmsgpack.pack({stored or '', counts, skipped})
