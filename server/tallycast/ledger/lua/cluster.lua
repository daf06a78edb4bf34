-- Where a script runs, and what is different there: on a node of a cluster. Goes before every script.

-- Whether the node is only about to get the slot: then parts of an item may be missing that exist elsewhere.
local ASKED = false
local told = {}

local function publish(channel, payload)
  redis.pcall('SPUBLISH', channel, payload)
end

-- A visitor's channel has another slot than an item.
local function tell(channel, payload)
  told[#told + 1], told[#told + 2] = channel, payload
end

-- A visitor's index has another slot, too: that was done before.
local function enlist()
  return 1
end
