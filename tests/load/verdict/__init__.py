"""Tests of ``tallycast_load.verdict``."""
