"""Checks of the engine before and while it is used: version, rights, durability settings."""
