-- Prelude of every script on a node that is importing the slot: buckets of an item may still be on the node that is
-- migrating it.

local IMPORTING = true
