-- Prelude of every script on a node of a cluster: what differs there. After stable.lua or importing.lua.

-- What the caller is to publish, because its slot may be another node's: channel, payload, channel, payload, ...
local unpublished = {}

-- Publishes on the channel of an item.
local function publish(channel, payload)
  redis.pcall('SPUBLISH', channel, payload)
end

-- Publishes on the channel of a visitor, which has another slot than the item.
local function publish_to_visitor(channel, payload)
  unpublished[#unpublished + 1], unpublished[#unpublished + 2] = channel, payload
end

-- Puts an item into a visitor's index, which has another slot, too: enlist.lua did so before.
local function enlist()
  return 1
end
