-- Prelude of every script on a node that owns the slot.

local IMPORTING = false
