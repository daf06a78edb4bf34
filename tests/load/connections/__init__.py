"""Tests of ``tallycast_load.connections``."""
