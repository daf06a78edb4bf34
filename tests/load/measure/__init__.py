"""Tests of ``tallycast_load.measure``."""
