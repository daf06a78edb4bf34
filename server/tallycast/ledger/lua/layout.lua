-- How an item is stored: included by every script that reads or writes items. The reasons, with figures, are in
-- docs/storage.md.
--
-- An item's members are spread over buckets: hashes small enough for the engine's compact encoding. Bucket 0 is the
-- item's own key; under "" it has the item's state, too. The number of buckets grows with the item, one split at a time
-- (linear hashing, W. Litwin 1980), so that no call reads more than some dozens of members at once.
--
-- A state is a sequence of MessagePack: version, frozen (0 or 1), generation, buckets, bases, kind, count, kind, count,
-- ... The value of a member is the number of its kind in there, from 1: a kind is appended with its first reaction, and
-- stays. The count is what is shown: the number of members, plus the kind's base, which an import set. The bases are 0
-- where there are none, else one for each kind, in their order. A reset increments the generation, and makes the
-- buckets of the one before garbage.
--
-- While an item is being counted (see repair.lua), there is [frozen, buckets counted, count, ...] in place of frozen:
-- how many members those buckets have of each kind, by its number. Every change in these buckets changes the counts,
-- too.
--
-- A split that was interrupted leaves copies of members behind in the bucket that was split. They are in the wrong
-- bucket from then on: they are never looked up there, no later split moves them, and they are not counted.

local VERSION, FROZEN, GENERATION, BUCKETS, BASES = 1, 2, 3, 4, 5
local HEAD = 5
-- Where the number of counted buckets is in a count under way; the counts follow.
local DONE = 2
-- Bytes of a member. A field of any other length is no member.
local MEMBER = 16
-- Members of a bucket, on average. The next bucket to be split has about twice as many, up to about 128.
local SPREAD = 40
-- Up to so many members are read from bucket 0 along with the state, before their bucket is known: mostly, it is that
-- one.
local FEW = 4

-- The keys of items whose counts cannot be those of their members; nil: none.
local drifted = nil

local function decode_state(stored)
  if not stored then
    return {0, 0, 0, 1, 0}
  end
  local state = {cmsgpack.unpack(stored)}
  if type(state[FROZEN]) == 'table' then
    state.counting = state[FROZEN]
    state[FROZEN] = state.counting[1]
  end
  return state
end

-- The return value of a script with a deadline.
local function answered(now, answer)
  if drifted then
    return cmsgpack.pack({now, answer, unpublished or {}, drifted})
  end
  return cmsgpack.pack({now, answer, unpublished})
end

-- A state as it is stored, and as it is published: [version, {kind: count, ...}]. Concatenated by hand, because packing
-- both costs twice as much; the bytes are the heads of an array of 2 and of a map.
local function encode_state(state)
  local version, kinds = cmsgpack.pack(state[VERSION]), (#state - HEAD) / 2
  local frozen = state[FROZEN]
  if state.counting then
    state.counting[1], frozen = frozen, state.counting
  end
  local counts = kinds > 0 and cmsgpack.pack(unpack(state, HEAD + 1)) or ''
  local map = kinds < 16 and string.char(128 + kinds) or string.char(222, math.floor(kinds / 256), kinds % 256)
  return version .. cmsgpack.pack(frozen, state[GENERATION], state[BUCKETS], state[BASES]) .. counts,
    string.char(146) .. version .. map .. counts
end

-- The count of a kind in a state.
local function count_of(state, kind)
  for at = HEAD + 2, #state, 2 do
    if state[at - 1] == kind then
      return state[at]
    end
  end
  return 0
end

-- The place of a kind's count in a state, to which the kind is added if it is new. The kind precedes its count.
local function place_of(state, kind)
  for at = HEAD + 2, #state, 2 do
    if state[at - 1] == kind then
      return at
    end
  end
  state[#state + 1], state[#state + 2] = kind, 0
  return #state
end

-- The base of the kind whose count is at that place.
local function base_at(state, at)
  return state[BASES] ~= 0 and state[BASES][(at - HEAD) / 2] or 0
end

-- Decrements the count at that place. Where not even the member that held the kind was counted, the count is wrong:
-- then it stays at the base, and the item is reported.
local function decrement(key, state, at)
  if state[at] > base_at(state, at) then
    state[at] = state[at] - 1
  else
    drifted = drifted or {}
    drifted[#drifted + 1] = key
  end
end

-- The bucket of a member. Members are digests, so any part of one is as good as random.
local function bucket_of(member, buckets)
  if buckets == 1 then
    return 0
  end
  local a, b, c = string.byte(member, 1, 3)
  local _, bits = math.frexp(buckets - 1)
  local bucket = (a * 65536 + b * 256 + c) % 2 ^ bits
  return bucket < buckets and bucket or bucket - 2 ^ (bits - 1)
end

local function bucket_key(key, state, bucket)
  return bucket == 0 and key or key .. state[GENERATION] .. '.' .. bucket
end

-- Adds the members of a bucket to `counts`, which begin after `head`, by the numbers of their kinds.
local function count_bucket(key, state, bucket, counts, head)
  local fields = redis.call('HGETALL', bucket_key(key, state, bucket))
  for k = 1, #fields, 2 do
    local at = head + (tonumber(fields[k + 1]) or 0)
    if #fields[k] == MEMBER and at > head and counts[at] and bucket_of(fields[k], state[BUCKETS]) == bucket then
      counts[at] = counts[at] + 1
    end
  end
end

-- Where an item is being counted: `more` members of the bucket have the kind of this number (0: none).
local function count_change(state, bucket, number, more)
  local counting = state.counting
  if bucket >= counting[DONE] or number == 0 or HEAD + 2 * number > #state then
    return
  end
  for at = #counting + 1, DONE + number do
    counting[at] = 0
  end
  counting[DONE + number] = counting[DONE + number] + more
end

-- Sets in `held`, for each of these members, the place of its kind in the state, or false.
local function set_held(held, state, members, numbers, first)
  for k = 1, #members do
    local number = numbers[k + first]
    local at = number and HEAD + 2 * number
    held[members[k]] = state[at] and at
  end
  return held
end

-- An item's state, the same as stored, and for each of these members the place of its kind in the state, or false.
local function find_members(key, members)
  local few = #members <= FEW
  local found = few and redis.call('HMGET', key, '', unpack(members)) or {redis.call('HGET', key, '')}
  local stored = found[1]
  local state = decode_state(stored)
  if few and state[BUCKETS] == 1 then
    return state, stored, set_held({}, state, members, found, 1)
  end
  local by_bucket, held = {}, {}
  for k = 1, #members do
    local member = members[k]
    local bucket = bucket_key(key, state, bucket_of(member, state[BUCKETS]))
    local some = by_bucket[bucket]
    if some then
      some[#some + 1] = member
    else
      by_bucket[bucket] = {member}
    end
  end
  for bucket, some in pairs(by_bucket) do
    if IMPORTING and redis.call('EXISTS', bucket) == 0 then
      error({err = 'NOTHERE a bucket has not arrived yet'})
    end
    set_held(held, state, some, redis.call('HMGET', bucket, unpack(some)), 0)
  end
  return state, stored, held
end

-- Splits buckets until there are enough for the members that a state counts. `stored` is the state before the changes:
-- if a command fails here, or later, all that is stored is consistent.
local function grow(key, state, stored)
  if IMPORTING then
    return  -- a bucket of an interrupted split may still arrive, and would conflict
  end
  local members = 0
  for at = HEAD + 2, #state, 2 do
    members = members + state[at] - base_at(state, at)
  end
  if members <= SPREAD * state[BUCKETS] then
    return
  end
  local before = decode_state(stored)
  state.counting = before.counting
  while members > SPREAD * state[BUCKETS] do
    local new = state[BUCKETS]
    local _, bits = math.frexp(new)
    local split = new - 2 ^ (bits - 1)
    local source, target = bucket_key(key, state, split), bucket_key(key, state, new)
    local fields, moved, names = redis.call('HGETALL', source), {}, {}
    for k = 1, #fields, 2 do
      if #fields[k] == MEMBER and bucket_of(fields[k], new + 1) == new then
        moved[#moved + 1], moved[#moved + 2] = fields[k], fields[k + 1]
        names[#names + 1] = fields[k]
        if before.counting then
          count_change(before, split, tonumber(fields[k + 1]) or 0, -1)
        end
      end
    end
    state[BUCKETS], before[BUCKETS] = new + 1, new + 1
    redis.call('UNLINK', target)
    if #names > 0 then
      redis.call('HSET', target, unpack(moved))
    end
    redis.call('HSET', key, '', (encode_state(before)))
    if #names > 0 then
      redis.call('HDEL', source, unpack(names))
    end
  end
end

-- Stores a state, and the kinds of members: a place in the state, or false for none. Returns the update to be
-- published.
local function write(key, state, changes)
  if state.counting then
    for member, at in pairs(changes) do
      local bucket = bucket_of(member, state[BUCKETS])
      local before = redis.call('HGET', bucket_key(key, state, bucket), member)
      count_change(state, bucket, tonumber(before or 0) or 0, -1)
      count_change(state, bucket, at and (at - HEAD) / 2 or 0, 1)
    end
  end
  local stored, update = encode_state(state)
  local member, at = next(changes)
  if member and not next(changes, member) and state[BUCKETS] == 1 then
    -- The same as below, faster, for the most common case.
    if at then
      redis.call('HSET', key, '', stored, member, (at - HEAD) / 2)
    else
      redis.call('HSET', key, '', stored)
      redis.call('HDEL', key, member)
    end
    return update
  end
  local set, dropped = {[key] = {'', stored}}, {}
  for member, at in pairs(changes) do
    local bucket = bucket_key(key, state, bucket_of(member, state[BUCKETS]))
    local lists = at and set or dropped
    local list = lists[bucket]
    if not list then
      list = {}
      lists[bucket] = list
    end
    list[#list + 1] = member
    if at then
      list[#list + 1] = (at - HEAD) / 2
    end
  end
  for bucket, fields in pairs(set) do
    redis.call('HSET', bucket, unpack(fields))
  end
  for bucket, members in pairs(dropped) do
    redis.call('HDEL', bucket, unpack(members))
  end
  return update
end
