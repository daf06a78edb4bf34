"""Tests of ``tallycast_load.report``."""
