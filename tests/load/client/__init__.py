"""Tests of ``tallycast_load.client``."""
