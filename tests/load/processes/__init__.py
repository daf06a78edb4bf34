"""Tests of ``tallycast_load.processes``."""
