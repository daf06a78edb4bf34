"""Tests of ``tallycast_load.reactions``."""
