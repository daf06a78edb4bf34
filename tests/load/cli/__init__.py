"""Tests of ``tallycast_load.cli``."""
