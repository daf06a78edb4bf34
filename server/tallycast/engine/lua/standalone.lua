-- Prelude of every script on a standalone engine: what differs there.

local IMPORTING = false
-- What the caller is to publish: nothing.
local unpublished = nil

-- Publishes on the channel of an item.
local function publish(channel, payload)
  redis.pcall('PUBLISH', channel, payload)
end

-- Publishes on the channel of a visitor.
local publish_to_visitor = publish

-- Puts an item into a visitor's index, as of now, or of another time if that is later than the one there. Returns how
-- many entries were added or changed, or false where there is the tombstone of a retired visitor. Raises any
-- other error.
local function enlist(index, since, stamp, item)
  local added
  if since > 0 then
    added = redis.pcall('ZADD', index, 'GT', 'CH', string.format('%.0f', since), item)
  else
    added = redis.pcall('ZADD', index, stamp, item)
  end
  if type(added) == 'table' then
    if string.sub(added.err, 1, 9) ~= 'WRONGTYPE' then
      error({err = added.err})
    end
    return false
  end
  return added
end
