"""Tests of ``tallycast_load.plan``."""
